//! The service characters: what separates, ends and releases.

/// The six characters of a `UNA`, or the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) component: u8,
    pub(crate) element: u8,
    pub(crate) decimal: u8,
    /// Takes the meaning of the character behind it.
    pub(crate) release: Option<u8>,
    /// Between repetitions of an element, since version 4 of the syntax.
    pub(crate) repetition: Option<u8>,
    pub(crate) terminator: u8,
}

/// How long a `UNA` is.
pub(crate) const UNA: usize = 9;

impl Default for Signs {
    fn default() -> Self {
        Self {
            component: b':',
            element: b'+',
            decimal: b'.',
            release: Some(b'?'),
            repetition: None,
            terminator: b'\'',
        }
    }
}

impl Signs {
    /// Those of a `UNA` of nine bytes, or what is wrong with it.
    pub(crate) fn of_una(una: &[u8]) -> Result<Self, String> {
        let &[
            b'U',
            b'N',
            b'A',
            component,
            element,
            decimal,
            release,
            repetition,
            terminator,
        ] = una
        else {
            return Err(format!("a UNA has {UNA} characters"));
        };
        let used = |sign: u8| (sign != b' ').then_some(sign);
        let signs = Self {
            component,
            element,
            decimal,
            release: used(release),
            repetition: used(repetition),
            terminator,
        };
        let mut all = vec![component, element, terminator];
        all.extend(signs.release);
        all.extend(signs.repetition);
        for (at, sign) in all.iter().enumerate() {
            if sign.is_ascii_alphanumeric() || !sign.is_ascii() || *sign == b' ' {
                let sign = char::from(*sign);
                return Err(format!("the UNA makes {sign:?} a separator"));
            }
            if all.iter().skip(at + 1).any(|other| other == sign) {
                let sign = char::from(*sign);
                return Err(format!("the UNA gives {sign:?} two meanings"));
            }
        }
        Ok(signs)
    }

    /// Without a `UNA`, version 4 of the syntax repeats elements with `*`.
    pub(crate) fn for_version(mut self, version: &str) -> Self {
        let version: u32 = version.parse().unwrap_or_default();
        if version >= 4 && self.repetition.is_none() {
            self.repetition = Some(b'*');
        }
        self
    }

    /// As a `UNA`.
    pub(crate) fn to_una(self) -> [u8; UNA] {
        let or_space = |sign: Option<u8>| sign.unwrap_or(b' ');
        [
            b'U',
            b'N',
            b'A',
            self.component,
            self.element,
            self.decimal,
            or_space(self.release),
            or_space(self.repetition),
            self.terminator,
        ]
    }
}
