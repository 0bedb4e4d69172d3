//! Facts about a Rust file for the rules, read from its tokens: a word in a comment or in a
//! string is none, and items under `#[cfg(test)]` are left out. Macro calls are read like the rest.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A path, `std::fs` or `crate::a::B`, as its segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    /// Where it begins.
    pub(super) line: usize,
}

/// One leaf of a `use` declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// The name that it brings into scope; `*` for a glob.
    pub(super) name: String,
    /// The path that the name stands for.
    pub(super) path: Path,
}

/// The code of one module, inline modules apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Code {
    /// Its `use` declarations, those inside of functions included.
    pub(super) imports: Vec<Import>,
    /// Every other path, single names included.
    pub(super) paths: Vec<Path>,
    /// The modules it declares: `Some` code for an inline one, `None` for a file.
    pub(super) modules: Vec<(String, Option<Self>)>,
}

impl Code {
    /// Reads the tokens of a module.
    pub(super) fn read(tokens: TokenStream) -> Self {
        let mut code = Self::default();
        code.extend(tokens);
        code
    }

    /// Calls `visit` with every path, of imports and inline modules as well.
    pub(super) fn each_path(&self, visit: &mut impl FnMut(&Path)) {
        for import in &self.imports {
            visit(&import.path);
        }
        self.paths.iter().for_each(&mut *visit);
        for inline in self.modules.iter().filter_map(|(_, code)| code.as_ref()) {
            inline.each_path(visit);
        }
    }

    fn extend(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Punct(mark)
                    if mark.as_char() == '#' && is_cfg_test(tokens.get(at + 1)) =>
                {
                    end_of_item(&tokens, at + 2)
                }
                // What an `impl Trait + use<'a>` captures is no declaration.
                TokenTree::Ident(word)
                    if word == "use" && !tokens.get(at + 1).is_some_and(|t| is_mark(t, '<')) =>
                {
                    self.read_use(&tokens, at + 1)
                }
                TokenTree::Ident(word) if word == "mod" => self.read_module(&tokens, at + 1),
                TokenTree::Ident(_) => self.read_path(&tokens, at),
                TokenTree::Group(group) => {
                    self.extend(group.stream());
                    at + 1
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
            };
        }
    }

    /// Reads the declaration that follows a `use`; returns the index after it.
    fn read_use(&mut self, tokens: &[TokenTree], from: usize) -> usize {
        let end = tokens[from..]
            .iter()
            .position(|token| is_mark(token, ';'))
            .map_or(tokens.len(), |length| from + length);
        self.read_tree(&tokens[from..end], &[]);
        end
    }

    /// Reads one use-tree, or several separated by commas, below `prefix`.
    fn read_tree(&mut self, tokens: &[TokenTree], prefix: &[String]) {
        for branch in tokens.split(|token| is_mark(token, ',')) {
            let mut segments = prefix.to_vec();
            let mut renamed = None;
            let mut line = 0;
            let mut words = branch.iter();
            while let Some(token) = words.next() {
                line = if line == 0 {
                    token.span().start().line
                } else {
                    line
                };
                match token {
                    TokenTree::Ident(word) if word == "as" => {
                        renamed = words.next().map(ToString::to_string);
                    }
                    TokenTree::Ident(word) => segments.push(word.to_string()),
                    TokenTree::Punct(mark) if mark.as_char() == '*' => {
                        segments.push("*".to_owned());
                    }
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.read_tree(&inner, &segments);
                        segments.clear();
                    }
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
            }
            // `a::{self}` brings `a` into scope.
            if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
                segments.pop();
            }
            if let Some(last) = segments.last() {
                let name = renamed.unwrap_or_else(|| last.clone());
                let path = Path { segments, line };
                self.imports.push(Import { name, path });
            }
        }
    }

    /// Reads what follows a `mod`; returns the index after it.
    fn read_module(&mut self, tokens: &[TokenTree], from: usize) -> usize {
        let name = tokens.get(from).map(ToString::to_string);
        match (name, tokens.get(from + 1)) {
            (Some(name), Some(TokenTree::Group(body))) => {
                self.modules.push((name, Some(Self::read(body.stream()))));
            }
            (Some(name), Some(end)) if is_mark(end, ';') => self.modules.push((name, None)),
            (_, _) => return from,
        }
        from + 2
    }

    /// Reads the path that begins at the identifier `from`; returns the index after it.
    fn read_path(&mut self, tokens: &[TokenTree], from: usize) -> usize {
        let mut segments = vec![tokens[from].to_string()];
        let mut at = from + 1;
        while let [colon, _, TokenTree::Ident(word), ..] = &tokens[at..] {
            if !is_joint_colon(colon) {
                break;
            }
            segments.push(word.to_string());
            at += 3;
        }
        let line = tokens[from].span().start().line;
        self.paths.push(Path { segments, line });
        at
    }
}

fn is_mark(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(mark) if mark.as_char() == character)
}

/// Is this the first half of `::`?
fn is_joint_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(mark)
        if mark.as_char() == ':' && mark.spacing() == Spacing::Joint)
}

/// Is this the `[cfg(test)]` or `[test]` after a `#`?
fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else {
        return false;
    };
    let text: String = group.stream().to_string().split_whitespace().collect();
    text == "test"
        || (text.starts_with("cfg(") && text.contains("test") && !text.contains("not(test"))
}

/// The index after the item that starts at `at`: past its braces or its semicolon.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return at,
            TokenTree::Punct(mark) if mark.as_char() == ';' => return at,
            TokenTree::Group(_)
            | TokenTree::Punct(_)
            | TokenTree::Ident(_)
            | TokenTree::Literal(_) => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Code {
        Code::read(text.parse().unwrap())
    }

    fn imports(text: &str) -> Vec<(String, String)> {
        let code = read(text);
        let shown = |i: Import| (i.name, i.path.segments.join("::"));
        code.imports.into_iter().map(shown).collect()
    }

    #[test]
    fn a_use_tree_is_taken_apart() {
        let found = imports("pub use ::a::{b, c as d, e::{self, f}, g::*}; use super::h;");
        let expected = [
            ("b", "a::b"),
            ("d", "a::c"),
            ("e", "a::e"),
            ("f", "a::e::f"),
            ("*", "a::g::*"),
            ("h", "super::h"),
        ];
        assert_eq!(found, expected.map(|(n, p)| (n.to_owned(), p.to_owned())));
    }

    #[test]
    fn paths_are_found_in_bodies_macros_and_types_with_their_lines() {
        let code = read("fn f(a: crate::A<super::B>) {\n matches!(a, self::c::D(_)) \n}");
        let long: Vec<_> = code.paths.iter().filter(|p| p.segments.len() > 1).collect();
        let shown: Vec<_> = long
            .iter()
            .map(|p| (p.segments.join("::"), p.line))
            .collect();
        let expected = [("crate::A", 1), ("super::B", 1), ("self::c::D", 2)];
        assert_eq!(shown, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn modules_are_told_apart_and_tests_left_out() {
        let code = read("mod a; pub(crate) mod b { use super::X; } #[cfg(test)] mod tests;");
        let names: Vec<_> = code.modules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(code.modules[0].1, None);
        assert_eq!(code.modules[1].1.as_ref().unwrap().imports[0].name, "X");
        assert_eq!(code.imports, []);
    }
}
