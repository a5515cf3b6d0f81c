//! The functions of pipes: `$.name | trim | upper`.

mod date;
mod list;
mod number;
mod slug;
mod text;

use bumpalo::Bump;
use regex_bites::{Regex, RegexBuilder};

use crate::diagnose::{Compiled, Pos, Problem, shorten};
use crate::node::{Kind, Malformed, Node, View};
use crate::number::Decimal;
use crate::scope::Scope;
use crate::syntax::{Call, Expr};

/// What a function gives: a value, nothing, or the reason why not.
pub(crate) type Outcome<'a> = Result<Option<Node<'a>>, String>;

type Run = for<'a> fn(&'a Bump, &Node<'a>, &[Node<'a>]) -> Outcome<'a>;

/// A function: what it is called, what it takes, what it does. Nothing and null pass through every function, so `run`
/// never sees them.
pub(crate) struct Function {
    name: &'static str,
    args: &'static [Arg],
    /// How many of the arguments are needed.
    needed: usize,
    run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// Applies it.
    pub(crate) fn run<'a>(
        &self,
        bump: &'a Bump,
        input: &Node<'a>,
        args: &[Node<'a>],
    ) -> Outcome<'a> {
        for (arg, (kind, what)) in args.iter().zip(self.args) {
            kind.check(arg).map_err(|wanted| {
                format!(
                    "`{}` needs {wanted} as {what}, found {}",
                    self.name,
                    describe(arg)
                )
            })?;
        }
        (self.run)(bump, input, args).map_err(|message| format!("`{}` {message}", self.name))
    }
}

/// What an argument must be, and what it is for.
type Arg = (ArgKind, &'static str);

#[derive(Clone, Copy)]
enum ArgKind {
    Text,
    /// A whole number, not negative.
    Size,
    /// A whole number.
    Whole,
    /// A number, also as text.
    Number,
    Any,
}

impl ArgKind {
    fn check(self, arg: &Node<'_>) -> Result<(), &'static str> {
        let whole = |node: &Node<'_>| match node {
            Node::Number(text) => Decimal::parse(text).and_then(Decimal::to_i64),
            _ => None,
        };
        match self {
            Self::Text if !matches!(arg.kind(), Kind::Text | Kind::Number) => Err("a text"),
            Self::Size if whole(arg).is_none_or(|n| !(0..=100_000).contains(&n)) => {
                Err("a whole number")
            }
            Self::Whole if whole(arg).is_none() => Err("a whole number"),
            Self::Number if !matches!(arg.kind(), Kind::Number | Kind::Text) => Err("a number"),
            _ => Ok(()),
        }
    }
}

const fn function(name: &'static str, args: &'static [Arg], needed: usize, run: Run) -> Function {
    Function {
        name,
        args,
        needed,
        run,
    }
}

use ArgKind::{Any, Number, Size, Text, Whole};

static FUNCTIONS: &[Function] = &[
    function("upper", &[], 0, text::upper),
    function("lower", &[], 0, text::lower),
    function("capitalize", &[], 0, text::capitalize),
    function("trim", &[], 0, text::trim),
    function("squeeze", &[], 0, text::squeeze),
    function(
        "replace",
        &[(Text, "the text to find"), (Text, "its replacement")],
        2,
        text::replace,
    ),
    function(
        "prefix",
        &[(Text, "the text to put in front")],
        1,
        text::prefix,
    ),
    function(
        "suffix",
        &[(Text, "the text to put behind")],
        1,
        text::suffix,
    ),
    function("split", &[(Text, "the separator")], 1, text::split),
    function(
        "truncate",
        &[(Size, "the length"), (Text, "the ending")],
        1,
        text::truncate,
    ),
    function(
        "pad-left",
        &[(Size, "the length"), (Text, "the filler")],
        1,
        text::pad_left,
    ),
    function(
        "pad-right",
        &[(Size, "the length"), (Text, "the filler")],
        1,
        text::pad_right,
    ),
    function(
        "slice",
        &[(Whole, "the start"), (Size, "the length")],
        1,
        list::slice,
    ),
    function("strip-html", &[], 0, text::strip_html),
    function("slug", &[(Text, "the separator")], 0, slug::slug),
    function("hash", &[(Size, "the length")], 0, text::hash),
    function("length", &[], 0, list::length),
    function("text", &[], 0, text::text),
    function("json", &[], 0, text::json),
    function("parse-json", &[], 0, text::parse_json),
    function("boolean", &[], 0, text::boolean),
    function(
        "choose",
        &[(Any, "the value for true"), (Any, "the value for false")],
        2,
        text::choose,
    ),
    function("number", &[], 0, number::number),
    function("integer", &[], 0, number::integer),
    function("round", &[(Size, "the digits")], 0, number::round),
    function("floor", &[], 0, number::floor),
    function("ceiling", &[], 0, number::ceiling),
    function("fixed", &[(Size, "the digits")], 1, number::fixed),
    function("add", &[(Number, "the summand")], 1, number::add),
    function(
        "subtract",
        &[(Number, "the subtrahend")],
        1,
        number::subtract,
    ),
    function("multiply", &[(Number, "the factor")], 1, number::multiply),
    function(
        "divide",
        &[(Number, "the divisor"), (Size, "the digits")],
        1,
        number::divide,
    ),
    function("absolute", &[], 0, number::absolute),
    function(
        "minor-units",
        &[(Size, "the digits")],
        0,
        number::minor_units,
    ),
    function(
        "major-units",
        &[(Size, "the digits")],
        0,
        number::major_units,
    ),
    function("date", &[(Text, "the format")], 1, date::date),
    function("parse-date", &[(Text, "the format")], 1, date::parse_date),
    function("add-days", &[(Whole, "the days")], 1, date::add_days),
    function("utc", &[], 0, date::utc),
    function("epoch", &[], 0, date::epoch),
    function("from-epoch", &[], 0, date::from_epoch),
    function("list", &[], 0, list::list),
    function("first", &[], 0, list::first),
    function("last", &[], 0, list::last),
    function("count", &[], 0, list::count),
    function("join", &[(Text, "the separator")], 1, list::join),
    function("unique", &[], 0, list::unique),
    function("sort", &[], 0, list::sort),
    function("reverse", &[], 0, list::reverse),
    function("compact", &[], 0, list::compact),
    function("flatten", &[], 0, list::flatten),
    function("append", &[(Any, "the items")], 1, list::append),
    function("sum", &[], 0, number::sum),
    function("pluck", &[(Text, "the field")], 1, list::pluck),
    function("keys", &[], 0, list::keys),
    function("values", &[], 0, list::values),
    function(
        "entries",
        &[
            (Text, "the name of the key"),
            (Text, "the name of the value"),
        ],
        0,
        list::entries,
    ),
    function(
        "from-entries",
        &[
            (Text, "the name of the key"),
            (Text, "the name of the value"),
        ],
        0,
        list::from_entries,
    ),
];

/// Functions that are more than a function of their input.
const SPECIAL: [(&str, usize); 5] = [
    ("default", 1),
    ("required", 0),
    ("lookup", 1),
    ("replace-pattern", 2),
    ("extract", 1),
];

/// Builds one step of a pipe, checking name and arguments.
pub(crate) fn call(name: &str, args: Vec<Expr>, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Call> {
    if let Some((_, count)) = SPECIAL.iter().find(|(special, _)| *special == name) {
        check_count(name, args.len(), *count, *count, pos)?;
        return special(name, args, pos, scope);
    }
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
        let known: Vec<&str> = FUNCTIONS
            .iter()
            .map(|f| f.name)
            .chain(SPECIAL.iter().map(|(name, _)| *name))
            .collect();
        let problem = Problem::unknown(pos, "function", name, &[]);
        return Err(match crate::diagnose::nearest(name, &known) {
            Some(near) => problem.advice(format!("did you mean `{near}`?")),
            None => {
                problem.advice("the README lists all functions; what none of them does, `!jq` can")
            }
        });
    };
    check_count(name, args.len(), function.needed, function.args.len(), pos)?;
    for (arg, (kind, what)) in args.iter().zip(function.args) {
        let literal = match arg {
            Expr::Null => Some(Node::Null),
            Expr::Bool(value) => Some(Node::Bool((*value).into())),
            Expr::Number(text) => Some(Node::Number(text)),
            Expr::Text(text) => Some(Node::Text(text)),
            _ => None,
        };
        if let Some(literal) = literal
            && let Err(wanted) = kind.check(&literal)
        {
            return Err(Problem::new(
                pos,
                format!(
                    "`{name}` needs {wanted} as {what}, found {}",
                    describe(&literal)
                ),
            ));
        }
    }
    if matches!(name, "date" | "parse-date")
        && let Some(Expr::Text(format)) = args.first()
    {
        date::check_format(format)
            .map_err(|message| Problem::new(pos, format!("`{name}`: {message}")))?;
    }
    Ok(Call::Function(function, args))
}

fn check_count(name: &str, found: usize, needed: usize, most: usize, pos: Pos) -> Compiled<()> {
    if (needed..=most).contains(&found) {
        return Ok(());
    }
    let wanted = match (needed, most) {
        (0, 0) => "no argument".to_owned(),
        (1, 1) => "one argument".to_owned(),
        (a, b) if a == b => format!("{a} arguments"),
        (a, b) => format!("{a} to {b} arguments"),
    };
    let problem = Problem::new(pos, format!("`{name}` takes {wanted}, found {found}"));
    Err(if found > most {
        problem.advice("an argument with spaces is quoted: `join ', '`")
    } else {
        problem
    })
}

fn special(name: &str, mut args: Vec<Expr>, pos: Pos, scope: &mut Scope<'_>) -> Compiled<Call> {
    let mut literal = |what: &str| match args.pop() {
        Some(Expr::Text(text) | Expr::Number(text)) => Ok(text),
        _ => Err(Problem::new(
            pos,
            format!("`{name}` needs {what} written out, not computed"),
        )),
    };
    Ok(match name {
        "required" => Call::Required,
        "lookup" => {
            let table = literal("the name of a table")?;
            Call::Lookup(scope.table(&table, pos)?)
        }
        "replace-pattern" => {
            let replacement = literal("the replacement")?;
            Call::ReplacePattern(
                Box::new(pattern(&literal("the pattern")?, pos)?),
                replacement,
            )
        }
        "extract" => Call::Extract(Box::new(pattern(&literal("the pattern")?, pos)?)),
        _ => Call::Default(args.pop().unwrap_or(Expr::Null)),
    })
}

/// Compiles a regular expression.
pub(crate) fn pattern(text: &str, pos: Pos) -> Compiled<Regex> {
    RegexBuilder::new(text).build().map_err(|error| {
        Problem::new(
            pos,
            format!("`{text}` is not a regular expression: {error}"),
        )
    })
}

/// A value in a message: what it is and how it starts.
pub(crate) fn describe(node: &Node<'_>) -> String {
    match node.kind() {
        Kind::Null => "null".to_owned(),
        kind => format!("{} ({})", kind.name(), shorten(&node.to_json(), 40)),
    }
}

/// The text of a text, or of a number as written.
fn text_of<'a>(node: &Node<'a>, bump: &'a Bump) -> Result<&'a str, String> {
    match node {
        Node::Number(text) => Ok(text),
        _ => node
            .as_text(bump)
            .ok_or_else(|| format!("needs a text, found {}", describe(node))),
    }
}

/// The number of a number, or of a text that is one.
fn decimal_of<'a>(node: &Node<'a>, bump: &'a Bump) -> Result<Decimal, String> {
    let text = match node {
        Node::Number(text) => Some(*text),
        _ => node
            .as_text(bump)
            .map(str::trim)
            .filter(|text| crate::scan::is_number(text)),
    };
    let text = text.ok_or_else(|| format!("needs a number, found {}", describe(node)))?;
    Decimal::parse(text).ok_or_else(|| format!("cannot compute with {text}: more than 28 digits"))
}

/// The items of a list.
fn items_of<'n, 'a>(node: &'n Node<'a>) -> Result<&'n [Node<'a>], String> {
    match node.view().map_err(malformed)? {
        View::List(items) => Ok(items),
        _ => Err(format!("needs a list, found {}", describe(node))),
    }
}

fn size_of(args: &[Node<'_>], index: usize) -> Option<usize> {
    match args.get(index) {
        Some(Node::Number(text)) => usize::try_from(Decimal::parse(text)?.to_i64()?).ok(),
        _ => None,
    }
}

fn whole_of(args: &[Node<'_>], index: usize) -> Option<i64> {
    match args.get(index) {
        Some(Node::Number(text)) => Decimal::parse(text)?.to_i64(),
        _ => None,
    }
}

fn malformed(error: Malformed) -> String {
    error.to_string()
}
