//! Tables for people, JSON for programs.

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: what the API answered
    Json,
}

/// The option of every command that reads.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Output {
    /// Print a table or JSON
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) format: Format,
}

impl Output {
    /// Prints `answer`, for people as `text` puts it.
    pub(crate) fn print<T: Serialize + ?Sized>(
        self,
        out: &mut dyn Write,
        answer: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => text(answer),
            Format::Json => {
                serde_json::to_string_pretty(answer).map_err(std::io::Error::from)? + "\n"
            }
        };
        out.write_all(text.as_bytes())?;
        Ok(())
    }
}

/// Lines of columns under a header, two spaces between them and none at a line's end.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A line each of a name and what it is; what has nothing to say is left out.
pub(crate) fn pairs<'a>(lines: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|(_, what)| !what.is_empty())
        .collect();
    let width = lines
        .iter()
        .map(|(name, _)| name.len() + 1)
        .max()
        .unwrap_or(0);
    lines
        .into_iter()
        .fold(String::new(), |mut text, (name, what)| {
            let name = format!("{name}:");
            writeln!(text, "{name:width$}  {what}").expect("a String takes every write");
            text
        })
}

/// Several words in one cell; `-` for none.
pub(crate) fn list<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(",")
    }
}

/// A word in a cell; `-` for none.
pub(crate) fn word<T: ToString>(word: Option<T>) -> String {
    word.map_or_else(|| "-".to_owned(), |word| word.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_at_their_last_letter() {
        let text = table(
            ["NAME", "MTU"],
            [
                ["blue".into(), "1500".into()],
                ["longer-name".into(), String::new()],
            ],
        );
        assert_eq!(text, "NAME         MTU\nblue         1500\nlonger-name\n");
        assert_eq!(table(["NAME"], []), "NAME\n");
    }

    #[test]
    fn pairs_are_aligned_and_silent_ones_left_out() {
        assert_eq!(
            pairs([
                ("a", "1".into()),
                ("long", "2".into()),
                ("none", String::new())
            ]),
            "a:     1\nlong:  2\n"
        );
    }

    #[test]
    fn cells_are_never_empty() {
        assert_eq!(
            (
                list([1, 2]),
                list::<u8>([]),
                word(Some(3)),
                word::<u8>(None)
            ),
            ("1,2".into(), "-".into(), "3".into(), "-".into())
        );
    }
}
