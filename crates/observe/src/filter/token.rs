//! The words of a filter.

use super::{FilterError, MAX_TOKENS};

/// A word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A keyword, a number, an address or a name.
    Word(String),
    /// A name in quotation marks, which is nothing else.
    Quoted(String),
}

/// Splits a filter into its words.
///
/// # Errors
/// A quotation mark that is not closed, an operator that is none, or too many words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if tokens.len() == MAX_TOKENS {
            return Err(FilterError::new(format!(
                "the filter has more than {MAX_TOKENS} words"
            )));
        }
        let (token, len) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '!' => (Token::Not, 1),
            '&' => (Token::And, operator(rest, "&&")?),
            '|' => (Token::Or, operator(rest, "||")?),
            '"' => {
                let inside = &rest[1..];
                let end = inside.find('"').ok_or_else(|| {
                    FilterError::new(format!(
                        "the quotation mark before `{inside}` is not closed"
                    ))
                })?;
                (Token::Quoted(inside[..end].to_owned()), end + 2)
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "()!&|\"".contains(c);
                let len = rest.find(ends).unwrap_or(rest.len());
                (word(&rest[..len]), len)
            }
        };
        tokens.push(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

fn operator(rest: &str, operator: &str) -> Result<usize, FilterError> {
    if rest.starts_with(operator) {
        return Ok(operator.len());
    }
    let single = &operator[..1];
    Err(FilterError::new(format!(
        "`{single}` alone is no operator; write `{operator}`"
    )))
}

fn word(text: &str) -> Token {
    match text {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        _ => Token::Word(text.to_owned()),
    }
}
