//! What may stand in a source file: its length, where `unsafe` is, and that pure crates do no I/O.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use super::syntax::Code;
use super::table::{IMPURE_CALLS, IMPURE_NAMES, IMPURE_PATHS, Kind, MAX_LINES};

/// Every `.rs` file below a package's directory, sorted; nested packages keep to themselves.
///
/// # Errors
/// When a directory cannot be read.
pub(super) fn rust_files(package: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![package.to_path_buf()];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry
                .with_context(|| format!("in {}", directory.display()))?
                .path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.join("Cargo.toml").exists() {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Findings of one file, each starting with `:LINE: `. `path` is relative to the package.
pub(super) fn check(path: &Path, text: &str, kind: Option<Kind>) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(format!(
            ":{lines}: has {lines} lines, more than {MAX_LINES}: split it by idea"
        ));
    }
    let tokens = match TokenStream::from_str(text) {
        Ok(tokens) => tokens,
        Err(error) => {
            findings.push(format!(":1: is not Rust: {error}"));
            return findings;
        }
    };
    if !is_sys(path) {
        find_unsafe(tokens.clone(), &mut findings);
    }
    if kind == Some(Kind::Pure) && !is_test_file(path) {
        find_impure(tokens, &mut findings);
    }
    findings
}

/// Is this file, or a module above it, named `sys`?
fn is_sys(path: &Path) -> bool {
    path.with_extension("")
        .components()
        .any(|part| part.as_os_str() == "sys")
}

/// Files that only tests and benches compile: `tests/`, `benches/`, and modules named `tests`.
fn is_test_file(path: &Path) -> bool {
    path.with_extension("").components().any(|part| match part {
        Component::Normal(name) => ["tests", "benches"].iter().any(|t| name == *t),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    })
}

/// The keyword `unsafe` outside an inline `mod sys { }`.
fn find_unsafe(tokens: TokenStream, findings: &mut Vec<String>) {
    let mut previous: [Option<String>; 2] = [None, None];
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            let in_sys =
                previous[0].as_deref() == Some("mod") && previous[1].as_deref() == Some("sys");
            if !in_sys {
                find_unsafe(group.stream(), findings);
            }
        }
        let ident = match &token {
            TokenTree::Ident(ident) => Some(ident.to_string()),
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
        };
        if ident.as_deref() == Some("unsafe") {
            let line = token.span().start().line;
            findings.push(format!(
                ":{line}: `unsafe` stands in modules named sys only"
            ));
        }
        previous.rotate_left(1);
        previous[1] = ident;
    }
}

fn find_impure(tokens: TokenStream, findings: &mut Vec<String>) {
    Code::read(tokens).each_path(&mut |path| {
        let (segments, line) = (&path.segments, path.line);
        let path = segments.join("::");
        let impure = IMPURE_PATHS.iter().any(|bad| is_at_or_below(&path, bad))
            || segments
                .iter()
                .any(|segment| IMPURE_NAMES.contains(&segment.as_str()))
            || IMPURE_CALLS
                .iter()
                .any(|call| path == *call || path.ends_with(&format!("::{call}")));
        if impure {
            findings.push(format!(":{line}: a pure crate does not use `{path}`"));
        }
    });
}

fn is_at_or_below(path: &str, bad: &str) -> bool {
    path.strip_prefix(bad)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pure(text: &str) -> Vec<String> {
        check(Path::new("src/a.rs"), text, Some(Kind::Pure))
    }

    #[test]
    fn sockets_files_threads_and_clocks_are_found_in_pure_crates() {
        for text in [
            "use std::fs;",
            "use std::{io, fs::File};",
            "use std::{net::{IpAddr, TcpStream}, fmt};",
            "fn f() { std::thread::spawn(|| ()); }",
            "fn f() -> u8 { let t = Instant::now(); 0 }",
            "fn f() { let t = std::time::SystemTime::now(); }",
            "use std::time::{Duration, Instant};",
            "fn f() { macro_call!(UdpSocket::bind(a)); }",
            "use ::std::os::fd::OwnedFd;",
        ] {
            assert_eq!(pure(text).len(), 1, "{text}: {:?}", pure(text));
        }
    }

    #[test]
    fn addresses_comments_strings_and_tests_are_no_finding() {
        for text in [
            "use std::net::{IpAddr, Ipv4Addr};",
            "// std::fs::read, Instant::now()\nfn f() {}",
            "/// calls `std::thread`\nfn f() -> &'static str { \"std::fs\" }",
            "#[cfg(test)]\nmod tests { use std::fs; fn g() { Instant::now(); } }",
            "#[cfg(all(test, unix))] use std::fs;",
            "use pipeline::Instant; fn f(now: Instant) {}",
            "use std::time::Duration;",
            "struct S { fs: u8, thread: u8 } fn f(s: S) -> u8 { s.fs }",
        ] {
            assert_eq!(pure(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn shells_may_use_the_kernel() {
        let found = check(Path::new("src/a.rs"), "use std::fs;", Some(Kind::Shell));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn unsafe_stands_in_sys_only_and_the_line_is_told() {
        let text = "fn f() {\n    unsafe { g() }\n}";
        let found = check(Path::new("src/tap.rs"), text, Some(Kind::Shell));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(":2:"), "{found:?}");
        for path in ["src/sys.rs", "src/sys/tap.rs", "src/tap/sys.rs"] {
            assert!(
                check(Path::new(path), text, Some(Kind::Shell)).is_empty(),
                "{path}"
            );
        }
        let inline = "mod sys { fn f() { unsafe { g() } } }";
        assert!(check(Path::new("src/tap.rs"), inline, Some(Kind::Shell)).is_empty());
        let word = "#![deny(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";";
        assert!(check(Path::new("src/tap.rs"), word, Some(Kind::Shell)).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        let text = "\n".repeat(MAX_LINES + 1);
        assert_eq!(check(Path::new("src/a.rs"), &text, None).len(), 1);
        assert!(check(Path::new("src/a.rs"), &"\n".repeat(MAX_LINES), None).is_empty());
    }
}
