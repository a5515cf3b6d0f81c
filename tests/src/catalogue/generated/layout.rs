//! Which product belongs to which model: pure arithmetic on numbers.
//!
//! Products come in blocks of 20 over five models, so that any item is found without a list:
//!
//! | products of a block | model  | what it is                                             |
//! |---------------------|--------|--------------------------------------------------------|
//! | 0 to 4              | `A`    | one level, one axis                                    |
//! | 5 to 8              | `B1`   | sub model of `B`: two levels, one axis each            |
//! | 9 to 12             | `B2`   | sub model of `B`                                       |
//! | 13 to 16            | `C`    | one level, two axes                                    |
//! | 17 to 19            | none   | simple products                                        |
//!
//! The last block may be cut short; it then has only the models that own a product (or a sub model that does).

/// Products of a block.
pub(super) const BLOCK: usize = 20;
/// Models of a whole block.
pub(super) const MODELS: usize = 5;

/// A model's place in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    A,
    B,
    B1,
    B2,
    C,
}

impl Role {
    pub(super) const ALL: [Self; MODELS] = [Self::A, Self::B, Self::B1, Self::B2, Self::C];

    /// How the model's code ends.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::B1 => "b-1",
            Self::B2 => "b-2",
            Self::C => "c",
        }
    }

    pub(super) const fn parent(self) -> Option<Self> {
        match self {
            Self::B1 | Self::B2 => Some(Self::B),
            Self::A | Self::B | Self::C => None,
        }
    }
}

/// The model of a product and the product's number among the model's variants; for a simple product no model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: usize,
    pub(super) owner: Option<Role>,
    pub(super) nth: usize,
}

pub(super) const fn place(product: usize) -> Place {
    let block = product / BLOCK;
    let (owner, nth) = match product % BLOCK {
        at @ 0..5 => (Some(Role::A), at),
        at @ 5..9 => (Some(Role::B1), at - 5),
        at @ 9..13 => (Some(Role::B2), at - 9),
        at @ 13..17 => (Some(Role::C), at - 13),
        at => (None, at - 17),
    };
    Place { block, owner, nth }
}

/// How many models a catalogue of that many products has.
pub(super) const fn models(products: usize) -> usize {
    let rest = match products % BLOCK {
        0 => 0,
        1..=5 => 1,
        6..=9 => 3,
        10..=13 => 4,
        _ => MODELS,
    };
    products / BLOCK * MODELS + rest
}

/// Model `index` of the listing. In every seventh block a sub model is listed before its root.
pub(super) const fn model(index: usize) -> (usize, Role) {
    let block = index / MODELS;
    let at = index % MODELS;
    let role = match at {
        1 if block % 7 == 3 => Role::B1,
        2 if block % 7 == 3 => Role::B,
        _ => Role::ALL[at],
    };
    (block, role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_of_a_product_is_listed_once_whatever_the_size() {
        for products in 0..170 {
            let listed: Vec<_> = (0..models(products))
                .map(model)
                .map(|(block, role)| (block, role.suffix()))
                .collect();
            let mut wanted = std::collections::BTreeSet::new();
            for place in (0..products).map(place) {
                if let Some(role) = place.owner {
                    wanted.insert((place.block, role.suffix()));
                    wanted.extend(role.parent().map(|root| (place.block, root.suffix())));
                }
            }
            assert_eq!(
                listed
                    .iter()
                    .copied()
                    .collect::<std::collections::BTreeSet<_>>(),
                wanted,
                "{products}"
            );
            assert_eq!(listed.len(), wanted.len(), "{products}");
        }
    }
}
