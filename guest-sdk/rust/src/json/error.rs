//! What is wrong with a JSON text, and where.

/// A text that is not the JSON that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct Error {
    problem: Problem,
    offset: usize,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text ends inside a value.
    #[error("the JSON ends too early")]
    Truncated,
    /// The text goes on behind the value.
    #[error("there is something behind the JSON value")]
    Trailing,
    /// A value was expected.
    #[error("expected a JSON value")]
    ExpectedValue,
    /// Another kind of value was expected.
    #[error("expected a JSON object")]
    ExpectedObject,
    /// A key was expected.
    #[error("expected a key in double quotes")]
    ExpectedKey,
    /// A colon was expected.
    #[error("expected `:`")]
    ExpectedColon,
    /// A comma or the end of the container was expected.
    #[error("expected `,` or the end of the object or array")]
    ExpectedComma,
    /// A closing bracket does not match the opening one.
    #[error("a closing bracket does not match")]
    Unbalanced,
    /// Nested deeper than [`super::MAX_DEPTH`].
    #[error("nested deeper than 127 levels")]
    TooDeep,
    /// More than [`super::tree::MAX_CONTAINERS`] objects and arrays in one text.
    #[error("more than 1,048,576 objects and arrays")]
    TooMany,
    /// A malformed number.
    #[error("malformed number")]
    Number,
    /// A malformed escape sequence or an unpaired surrogate.
    #[error("malformed escape sequence in a string")]
    Escape,
    /// A control character in a string.
    #[error("unescaped control character in a string")]
    Control,
    /// Not UTF-8.
    #[error("invalid UTF-8 in a string")]
    Utf8,
    /// More than 4 GiB.
    #[error("the text is larger than 4 GiB")]
    TooLarge,
    /// Well-formed, but of no use to the reader (a number out of range, a missing field).
    #[error("the JSON does not fit what is expected")]
    Unfit,
}

impl Error {
    pub(super) fn new(problem: Problem, offset: usize) -> Self {
        Self { problem, offset }
    }

    /// What is wrong.
    pub fn problem(&self) -> Problem {
        self.problem
    }

    /// Where, in bytes from the start of the text that was parsed.
    pub fn offset(&self) -> usize {
        self.offset
    }
}
