//! The terminal: what is printed where.
//!
//! The report goes to standard output, a piece as soon as it is known; what is being done right now
//! stands in one line on standard error, which the next piece wipes away, and only if a person is
//! watching. Nobody reading (a closed pipe) is no reason to leave the lab half taken down, so
//! failures to write are ignored.

use crate::render::Style;
use std::io::{IsTerminal, Write, stderr, stdout};

/// Where the lab shows itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// How text looks.
    pub(crate) style: Style,
    text: bool,
    watched: bool,
}

impl Screen {
    /// The process's own terminal; with `json` no text goes to standard output.
    pub(crate) fn new(json: bool) -> Self {
        let variable = |name| std::env::var(name).unwrap_or_default();
        let dumb = variable("TERM") == "dumb";
        Self {
            style: Style {
                // no-color.org: present and not empty, whatever its value.
                colour: stdout().is_terminal() && variable("NO_COLOR").is_empty() && !dumb,
                unicode: speaks_unicode(variable),
            },
            text: !json,
            watched: stderr().is_terminal() && !dumb,
        }
    }

    /// A piece of the report, in text.
    pub(crate) fn show(&self, text: &str) {
        if self.text {
            self.wipe();
            put(&mut stdout(), text);
        }
    }

    /// The document, for machines.
    pub(crate) fn document(&self, json: &str) {
        self.wipe();
        put(&mut stdout(), &format!("{json}\n"));
    }

    /// Something gone wrong.
    pub(crate) fn complain(&self, sentence: &str) {
        self.wipe();
        put(&mut stderr(), &format!("{sentence}\n"));
    }

    /// Shows what is being done now.
    pub(crate) fn progress(&self, what: &str) {
        if self.watched {
            put(&mut stderr(), &format!("{WIPE}  ... {what}"));
        }
    }

    fn wipe(&self) {
        if self.watched {
            put(&mut stderr(), WIPE);
        }
    }
}

fn put(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

/// The first of these that is set decides: locale(7).
fn speaks_unicode(variable: impl Fn(&'static str) -> String) -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].map(variable);
    let locale = set.into_iter().find(|value| !value.is_empty());
    locale.is_some_and(|locale| locale.to_uppercase().replace('-', "").contains("UTF8"))
}

/// To the line's start, and erase it.
const WIPE: &str = "\r\x1b[K";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_whether_a_terminal_speaks_unicode() {
        let with = |name: &'static str, value: &'static str| {
            move |asked: &'static str| {
                if asked == name {
                    value.to_owned()
                } else {
                    String::new()
                }
            }
        };
        assert!(speaks_unicode(with("LANG", "C.UTF-8")));
        assert!(speaks_unicode(with("LC_ALL", "de_DE.utf8")));
        assert!(!speaks_unicode(with("LANG", "C")));
        assert!(!speaks_unicode(with("TERM", "xterm")));
    }
}
