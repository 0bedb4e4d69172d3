//! Filters on the command line: words, and options that stand for words.

use api::{Filter, Name};

/// Joins a filter's words with those that options stand for: all must hold.
pub(crate) fn joined(
    words: &[String],
    options: impl IntoIterator<Item = Option<String>>,
) -> Filter {
    let words = words.join(" ");
    let mut all: Vec<_> = options.into_iter().flatten().collect();
    if all.is_empty() {
        return Filter::new(words);
    }
    if !words.trim().is_empty() {
        all.push(format!("({words})"));
    }
    Filter::new(all.join(" and "))
}

/// The words that choose what has a name, which may be a word of the language itself.
pub(crate) fn named(word: &str, name: &Name) -> String {
    format!("{word} \"{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_narrow_what_the_words_choose() {
        let text = |words: &[&str], options: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let options = options.iter().map(|option| Some((*option).to_owned()));
            joined(&words, options.chain([None])).filter
        };
        assert_eq!(text(&[], &[]), "");
        assert_eq!(text(&["tcp", "or udp"], &[]), "tcp or udp");
        assert_eq!(text(&[" "], &["port 53"]), "port 53");
        assert_eq!(
            text(&["tcp", "or", "udp"], &["port 53", "network \"web\""]),
            "port 53 and network \"web\" and (tcp or udp)"
        );
        assert!(joined(&[" ".to_owned()], []).is_all());
    }
}
