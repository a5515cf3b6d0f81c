//! What a mapping is made of once it is compiled.

use foldhash::fast::RandomState;
use regex_bites::Regex;
use std::collections::HashMap;
use std::rc::Rc;

use crate::diagnose::Pos;
use crate::function::Function;
use crate::jq::Jq;

/// A compiled mapping.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The name of the text it came from, for messages: `maps/products.yaml`.
    pub(crate) file: Rc<str>,
    pub(crate) streams: HashMap<String, Program>,
    /// The rules of `"*"`.
    pub(crate) others: Option<Program>,
    pub(crate) unmapped: Unmapped,
    pub(crate) deletes: Deletes,
    pub(crate) tables: Vec<Table>,
    /// The config's variables as JSON texts; they are the first slots of every program.
    pub(crate) globals: Vec<(String, String)>,
    /// Some table is written: batches must come in order.
    pub(crate) writes_tables: bool,
}

/// What happens to records of streams without rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmapped {
    Pass,
    Drop,
    Reject,
}

/// What happens to records that say "delete".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletes {
    Pass,
    Drop,
    Map,
}

/// A table that the mapping names.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) alias: String,
    /// Keys are written and looked up in lower case.
    pub(crate) fold_case: bool,
    pub(crate) content: Content,
}

/// JSON texts by their keys.
pub(crate) type Fixed = HashMap<String, String, RandomState>;

#[derive(Debug)]
pub(crate) enum Content {
    /// A table of the host, by its real name.
    Host(String),
    /// Entries that stand in the mapping.
    Fixed(Fixed),
}

/// The rules of one stream.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) rules: Vec<Rule>,
    /// Variable slots, globals included.
    pub(crate) slots: usize,
    /// No rule changes anything below the top level of a record, so no tree is built.
    pub(crate) lazy: bool,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) pos: Pos,
    /// Its name and, where there is one, its field, for messages: `set name.de_DE`.
    pub(crate) label: String,
    pub(crate) when: Option<Condition>,
    pub(crate) action: Action,
}

#[derive(Debug)]
pub(crate) enum Action {
    Set(Path, Expr),
    Default(Path, Expr),
    Change(Path, Vec<Call>),
    Copy(Path, Path),
    Move(Path, Path),
    Rename(Path, Expr),
    Remove(Path),
    Keep(Vec<String>),
    Let(usize, Expr),
    Lookup(Lookup),
    Put {
        table: usize,
        key: Expr,
        value: Expr,
    },
    Forget {
        table: usize,
        key: Expr,
    },
    Merge {
        from: Expr,
        into: Path,
        replace: bool,
    },
    ForEach(ForEach),
    Group {
        rules: Vec<Rule>,
        otherwise: Vec<Rule>,
    },
    Emit(Emit),
    Explode(ForEach, Emit),
    Key(Expr),
    Route(Expr),
    Drop(Expr),
    Raise(Expr),
    Done,
    Jq(Jq),
}

#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) table: usize,
    pub(crate) key: Expr,
    pub(crate) into: Path,
    pub(crate) missing: Missing,
}

/// What a lookup does when the table has no entry.
#[derive(Debug)]
pub(crate) enum Missing {
    Raise,
    Skip,
    Drop,
    Use(Expr),
}

#[derive(Debug)]
pub(crate) struct ForEach {
    pub(crate) items: Items,
    pub(crate) item: usize,
    /// Gets the key of an object's entry or the position in a list.
    pub(crate) key: Option<usize>,
    pub(crate) rules: Vec<Rule>,
}

/// What a loop goes through.
#[derive(Debug)]
pub(crate) enum Items {
    /// A place whose items the loop changes.
    Place(Path),
    /// A value; changes to the items stay in the loop.
    Value(Expr),
}

#[derive(Debug)]
pub(crate) struct Emit {
    pub(crate) stream: Option<Expr>,
    pub(crate) key: Option<Expr>,
    pub(crate) record: Option<Expr>,
}

#[derive(Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Jq(Jq),
    Holds(Expr, Test),
}

#[derive(Debug)]
pub(crate) enum Test {
    All(Vec<Test>),
    Not(Box<Test>),
    Equals(Expr),
    /// Equal to one of these; of a path, to one of the items of its list.
    In(Vec<Expr>),
    Is(State),
    Matches(Box<Regex>),
    Contains(Expr),
    Compare(Compare, Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Present,
    Missing,
    Empty,
    Filled,
    Text,
    Number,
    Boolean,
    List,
    Object,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Above,
    Below,
    AtLeast,
    AtMost,
}

/// Where something is in the record or in a variable.
#[derive(Debug)]
pub(crate) struct Path {
    /// As written, for messages.
    pub(crate) text: String,
    pub(crate) root: Root,
    pub(crate) steps: Vec<Step>,
    way: Way,
}

/// How places are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Fields and positions that stand in the mapping.
    Straight,
    /// There may be several.
    Wild,
    /// Something has to be found out first.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    Record,
    Variable(usize),
}

#[derive(Debug)]
pub(crate) enum Step {
    Field(String),
    /// A field whose name is computed: `{$locale}`.
    Computed(Expr),
    /// From the end when negative.
    Index(i64),
    /// Behind the last item: `[+]`.
    Append,
    /// All items or fields: `*`.
    Every,
    /// The best item of a list: `[locale=de_DE|null]`.
    Pick(Vec<Pick>),
}

#[derive(Debug)]
pub(crate) struct Pick {
    pub(crate) field: String,
    pub(crate) choices: Vec<Choice>,
}

#[derive(Debug)]
pub(crate) enum Choice {
    /// The field is null or not there.
    Null,
    Any,
    Text(String),
    /// What the path has; a list counts as its items in turn.
    Path(Path),
}

/// Something that has a value.
#[derive(Debug)]
pub(crate) enum Expr {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Path(Path),
    /// The key of the record.
    Key,
    /// The stream the record came with.
    Stream,
    Pipe(Box<Expr>, Vec<Call>),
    Template(Vec<Part>),
    List(Vec<Expr>),
    Object(Vec<(Expr, Expr)>),
    Jq(Jq),
}

#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Value(Expr),
}

/// One step of a pipe: a function and its arguments.
#[derive(Debug)]
pub(crate) enum Call {
    Function(&'static Function, Vec<Expr>),
    Default(Expr),
    Required,
    Lookup(usize),
    ReplacePattern(Box<Regex>, String),
    Extract(Box<Regex>),
}

impl Path {
    pub(crate) fn new(text: String, root: Root, steps: Vec<Step>) -> Self {
        let straight = |step: &Step| matches!(step, Step::Field(_) | Step::Index(_));
        let way = if steps.iter().any(|step| matches!(step, Step::Every)) {
            Way::Wild
        } else if steps.iter().all(straight) {
            Way::Straight
        } else {
            Way::Other
        };
        Self {
            text,
            root,
            steps,
            way,
        }
    }

    /// Whether it leads to one place, by fields and positions that stand in the mapping.
    pub(crate) fn is_straight(&self) -> bool {
        self.way == Way::Straight
    }

    /// The name of the top-level field of the record that this is, if it is one.
    pub(crate) fn top_field(&self) -> Option<&str> {
        match (self.root, self.steps.as_slice()) {
            (Root::Record, [Step::Field(name)]) => Some(name),
            _ => None,
        }
    }

    /// Whether it can stand for several places.
    pub(crate) fn is_wild(&self) -> bool {
        self.way == Way::Wild
    }
}
