//! Functions on numbers. All of it is decimal: no sum of money is ever off by a cent.

use bumpalo::Bump;

use super::{Outcome, decimal_of, describe, items_of, size_of};
use crate::node::{Flag, Kind, Node};
use crate::number::Decimal;

const TOO_LARGE: &str = "gives a number of more than 28 digits";

#[allow(
    clippy::unnecessary_wraps,
    reason = "all functions of the language have one signature"
)]
fn done(value: Decimal, bump: &Bump) -> Outcome<'_> {
    Ok(Some(Node::Number(bump.alloc_str(&value.shortest()))))
}

fn some(value: Option<Decimal>, bump: &Bump) -> Outcome<'_> {
    done(value.ok_or(TOO_LARGE)?, bump)
}

/// The first argument as a number.
fn arg<'a>(args: &[Node<'a>], bump: &'a Bump) -> Result<Decimal, String> {
    args.first()
        .map_or(Ok(Decimal::from_usize(0)), |node| decimal_of(node, bump))
}

fn digits(args: &[Node<'_>], index: usize, default: u32) -> Result<u32, String> {
    match size_of(args, index) {
        None => Ok(default),
        Some(digits) if digits <= 28 => Ok(u32::try_from(digits).unwrap_or(28)),
        Some(_) => Err("takes up to 28 digits".to_owned()),
    }
}

pub(super) fn number<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    match input {
        Node::Number(_) => Ok(Some(input.clone())),
        Node::Bool(Flag::True) => Ok(Some(Node::Number("1"))),
        Node::Bool(Flag::False) => Ok(Some(Node::Number("0"))),
        _ => match input.as_text(bump).map(str::trim) {
            Some("") => Ok(None),
            Some(text) if crate::scan::is_number(text) => Ok(Some(Node::Number(text))),
            _ => done(decimal_of(input, bump)?, bump),
        },
    }
}

pub(super) fn integer<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    match number(bump, input, args)? {
        None => Ok(None),
        Some(Node::Number(text))
            if text
                .trim_start_matches('-')
                .bytes()
                .all(|b| b.is_ascii_digit()) =>
        {
            Ok(Some(Node::Number(text)))
        }
        Some(node) => {
            let value = decimal_of(&node, bump)?;
            if !value.is_whole() {
                return Err(format!(
                    "needs a whole number, found {}; `round` it first",
                    describe(input)
                ));
            }
            done(value, bump)
        }
    }
}

pub(super) fn round<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    done(decimal_of(input, bump)?.round(digits(args, 0, 0)?), bump)
}

pub(super) fn floor<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(decimal_of(input, bump)?.floor(), bump)
}

pub(super) fn ceiling<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(decimal_of(input, bump)?.ceiling(), bump)
}

pub(super) fn fixed<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let text = decimal_of(input, bump)?.fixed(digits(args, 0, 0)?);
    Ok(Some(Node::text(&text, bump)))
}

pub(super) fn add<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    some(decimal_of(input, bump)?.add(arg(args, bump)?), bump)
}

pub(super) fn subtract<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    some(decimal_of(input, bump)?.subtract(arg(args, bump)?), bump)
}

pub(super) fn multiply<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    some(decimal_of(input, bump)?.multiply(arg(args, bump)?), bump)
}

pub(super) fn divide<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let divisor = arg(args, bump)?;
    if divisor == Decimal::from_usize(0) {
        return Err("cannot divide by zero".to_owned());
    }
    let quotient = decimal_of(input, bump)?.divide(divisor).ok_or(TOO_LARGE)?;
    done(quotient.round(digits(args, 1, 12)?), bump)
}

pub(super) fn absolute<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    done(decimal_of(input, bump)?.abs(), bump)
}

pub(super) fn minor_units<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let amount = decimal_of(input, bump)?;
    done(
        amount
            .shift_left(digits(args, 0, 2)?)
            .ok_or(TOO_LARGE)?
            .round(0),
        bump,
    )
}

pub(super) fn major_units<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let digits = digits(args, 0, 2)?;
    let unit = Decimal::from_usize(1).shift_left(digits).ok_or(TOO_LARGE)?;
    let amount = decimal_of(input, bump)?.divide(unit).ok_or(TOO_LARGE)?;
    Ok(Some(Node::text(&amount.fixed(digits), bump)))
}

pub(super) fn sum<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let mut total = Decimal::from_usize(0);
    for item in items_of(input)?
        .iter()
        .filter(|item| item.kind() != Kind::Null)
    {
        total = total.add(decimal_of(item, bump)?).ok_or(TOO_LARGE)?;
    }
    done(total, bump)
}
