//! Stage 1, parse: what do the headers say, and are they sound?

use pipeline::{Context, Decision, DropReason, Frame, MAX_FRAME, Trace};
use wire::Headers;

/// Parses the headers and holds the virtio header against them.
///
/// # Errors
/// [`DropReason::FrameTooLong`], [`DropReason::FrameTooShort`], [`DropReason::VnetInvalid`].
#[inline(always)]
pub(crate) fn parse<T: Trace>(
    context: &mut Context<T>,
    frame: &Frame<'_>,
) -> Result<Headers, DropReason> {
    if frame.len() >= MAX_FRAME {
        return Err(DropReason::FrameTooLong);
    }
    let headers = Headers::parse(frame.bytes()).map_err(|_| DropReason::FrameTooShort)?;
    tell_headers(&headers, frame, &mut context.trace);
    wire::check_vnet(&frame.vnet, &headers, frame.len()).map_err(|_| DropReason::VnetInvalid)?;
    Ok(headers)
}

fn tell_headers<T: Trace>(headers: &Headers, frame: &Frame<'_>, trace: &mut T) {
    trace.tell(Decision::Parsed {
        src: headers.src,
        dst: headers.dst,
        ethertype: headers.ethertype,
        len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
    });
    if let Some(tag) = headers.outer {
        trace.tell(Decision::Tagged { vid: tag.vid() });
    }
    if frame.vnet.is_gso() {
        trace.tell(Decision::Superframe {
            segment: frame.vnet.gso_size,
        });
    }
}
