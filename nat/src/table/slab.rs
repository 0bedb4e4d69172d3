//! Values with small numbers that stay where they are: chunks, so that growing copies nothing.

/// The values.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

const CHUNK_BITS: u32 = 8;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
        }
    }

    /// Values there.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest number ever given.
    pub(crate) fn end(&self) -> usize {
        self.chunks
            .last()
            .map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(at) = self.free.pop() {
            let (chunk, place) = split(at);
            self.chunks[chunk][place] = Some(value);
            return at;
        }
        let at = u32::try_from(self.end()).expect("tables are limited to far less");
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(Some(value)),
            Some(_) | None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(Some(value));
                self.chunks.push(chunk);
            }
        }
        at
    }

    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let (chunk, place) = split(at);
        let value = self.chunks.get_mut(chunk)?.get_mut(place)?.take()?;
        self.free.push(at);
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        let (chunk, place) = split(at);
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        let (chunk, place) = split(at);
        self.chunks.get_mut(chunk)?.get_mut(place)?.as_mut()
    }

    /// Bytes of memory behind it.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Option<T>>()
            + self.chunks.capacity() * size_of::<Vec<Option<T>>>()
            + self.free.capacity() * size_of::<u32>()
    }
}

#[inline]
const fn split(at: u32) -> (usize, usize) {
    ((at >> CHUNK_BITS) as usize, at as usize & (CHUNK - 1))
}
