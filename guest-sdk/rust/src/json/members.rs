//! What an object knows of its members: where they are, how they are called, and which of them lie together.

/// Where one member is. 32 bits are enough: larger texts are refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) value: Span,
    /// Whether the key has escapes.
    pub(super) escaped: bool,
    /// Whether key, colon and value are next to each other: as they came in the text, or set as a whole in the extra.
    pub(super) whole: bool,
    pub(super) tag: Tag,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The text that was parsed.
    Text,
    /// What was set or renamed since.
    Extra,
}

/// What tells most names apart without looking at them: made of the length, the first and the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u32);

/// Which names an object may have: told without looking at its members, and never wrong about one that it has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names {
    bits: u64,
    /// Whether two members may have the same name.
    twice: bool,
}

/// A set of positions. The first 64 take no allocation.
#[derive(Debug, Clone, Default)]
pub(super) struct Positions {
    near: u64,
    far: Vec<u64>,
}

impl Span {
    /// Of what there is no more.
    pub(super) const NOTHING: Self = Self {
        start: 0,
        end: 0,
        place: Place::Extra,
    };

    /// Positions fit: `parse` refuses larger texts, and what is set would have to be 4 GiB.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    pub(super) fn new(start: usize, end: usize, place: Place) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
            place,
        }
    }

    #[inline]
    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Entry {
    /// The last of these with this tag.
    #[inline]
    pub(super) fn last_tagged(members: &[Self], tag: Tag) -> Option<usize> {
        let mut before = members;
        // By eights: every turn of a loop is a check for an interruption.
        while let Some((rest, eight)) = before.split_last_chunk::<8>() {
            if let Some(at) = eight.iter().rposition(|entry| entry.tag == tag) {
                return Some(rest.len() + at);
            }
            before = rest;
        }
        before.iter().rposition(|entry| entry.tag == tag)
    }

    /// The last of up to 16 of these with this tag, found without a loop. Of more, only the last eight are looked at.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
    pub(super) fn last_of_few(members: &[Self], tag: Tag) -> Option<usize> {
        let is = |entry: &Self| entry.tag == tag;
        // What is left of them is looked at together with some that have been looked at.
        if let (Some(first), Some(last)) = (members.first_chunk::<8>(), members.last_chunk::<8>()) {
            let start = members.len() - 8;
            return match last.iter().rposition(is) {
                Some(at) => Some(start + at),
                None if start <= 8 => first.iter().rposition(is),
                None => None,
            };
        }
        if let (Some(first), Some(last)) = (members.first_chunk::<4>(), members.last_chunk::<4>()) {
            return match last.iter().rposition(is) {
                Some(at) => Some(members.len() - 4 + at),
                None => first.iter().rposition(is),
            };
        }
        let is = |at: &usize| members.get(*at).is_some_and(is);
        [2, 1, 0].into_iter().find(is)
    }

    /// Whether this member lies directly behind the other one, both of them set as a whole: such a one ends with a
    /// comma.
    #[inline]
    pub(super) fn is_set_behind(&self, before: &Self) -> bool {
        self.whole
            && before.whole
            && before.value.place == Place::Extra
            && before.value.end + 1 == self.key.start
    }
}

impl Tag {
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "any part of the length will do"
    )]
    pub(super) fn of(name: &[u8]) -> Self {
        let ends = match name {
            [first, .., last] => {
                (name.len() as u32) << 16 | u32::from(*first) << 8 | u32::from(*last)
            }
            [only] => 1 << 16 | u32::from(*only),
            [] => 0,
        };
        Self(ends.wrapping_mul(0x9E37_79B1))
    }

    /// One of 64 bits.
    #[inline]
    fn bit(self) -> u64 {
        1 << (self.0 >> 26)
    }
}

impl Names {
    #[inline]
    pub(super) fn add(&mut self, tag: Tag) {
        self.twice |= self.may_have(tag);
        self.bits |= tag.bit();
    }

    #[inline]
    pub(super) fn may_have(&self, tag: Tag) -> bool {
        self.bits & tag.bit() != 0
    }

    /// Whether two members may have the same name.
    #[inline]
    pub(super) fn twice(&self) -> bool {
        self.twice
    }
}

impl Positions {
    #[inline]
    pub(super) fn add(&mut self, at: usize) {
        if at < 64 {
            self.near |= 1 << at;
        } else {
            self.add_far(at);
        }
    }

    #[inline]
    pub(super) fn has(&self, at: usize) -> bool {
        if at < 64 {
            self.near >> at & 1 == 1
        } else {
            self.far
                .get(at / 64 - 1)
                .is_some_and(|word| word >> (at % 64) & 1 == 1)
        }
    }

    /// The first one at or behind `at` and before `end`, otherwise `end`.
    #[inline]
    pub(super) fn next(&self, at: usize, end: usize) -> usize {
        let near = if at < 64 { self.near >> at } else { 0 };
        if near != 0 {
            end.min(at + near.trailing_zeros() as usize)
        } else if end <= 64 {
            end
        } else {
            self.next_far(at.max(64), end)
        }
    }

    #[inline(never)]
    fn add_far(&mut self, at: usize) {
        let word = at / 64 - 1;
        if word >= self.far.len() {
            self.far.resize(word + 1, 0);
        }
        self.far[word] |= 1 << (at % 64);
    }

    #[inline(never)]
    fn next_far(&self, at: usize, end: usize) -> usize {
        let mut shift = at % 64;
        for (number, word) in self.far.iter().enumerate().skip(at / 64 - 1) {
            let rest = word >> shift << shift;
            if rest != 0 {
                return end.min((number + 1) * 64 + rest.trailing_zeros() as usize);
            }
            shift = 0;
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn positions_are_a_set(
            added in prop::collection::vec(0_usize..300, 0..40),
            at in 0_usize..320,
            end in 0_usize..320,
        ) {
            let mut positions = Positions::default();
            for one in &added {
                positions.add(*one);
            }
            let model: BTreeSet<usize> = added.into_iter().collect();
            for one in 0..320 {
                prop_assert_eq!(positions.has(one), model.contains(&one));
            }
            if at <= end {
                let next = model.range(at..end).next().copied().unwrap_or(end);
                prop_assert_eq!(positions.next(at, end), next);
            }
        }

        #[test]
        fn a_name_that_is_there_is_never_denied(names in prop::collection::vec("[a-c]{0,3}", 0..20)) {
            let mut known = Names::default();
            for name in &names {
                known.add(Tag::of(name.as_bytes()));
            }
            for name in &names {
                prop_assert!(known.may_have(Tag::of(name.as_bytes())));
            }
            let unique: BTreeSet<&String> = names.iter().collect();
            prop_assert!(known.twice() || unique.len() == names.len());
        }
    }
}
