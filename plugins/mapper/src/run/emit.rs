//! Rules that give out further records.

use crate::function::describe;
use crate::node::{Kind, Node};
use crate::run::{Emitted, Halt, Worker};
use crate::syntax::Emit;

impl<'a> Worker<'a, '_> {
    #[inline(never)]
    pub(super) fn emit(&mut self, emit: &'a Emit) -> Result<(), Halt<'a>> {
        let payload = match &emit.record {
            Some(expr) => self.run.eval(expr)?,
            None => Some(self.run.doc.to_node(self.run.bump)?),
        };
        self.give_out(emit, payload)
    }

    pub(super) fn give_out(
        &mut self,
        emit: &'a Emit,
        payload: Option<Node<'a>>,
    ) -> Result<(), Halt<'a>> {
        let stream = match &emit.stream {
            Some(expr) => self.stream(expr)?,
            None => self.target,
        };
        let key = match &emit.key {
            Some(expr) => self.key(expr)?,
            None => self.run.key,
        };
        match payload {
            Some(payload) if payload.kind() == Kind::Object => self.emitted.push(Emitted {
                stream,
                key,
                payload,
            }),
            Some(payload) => {
                return Err(
                    format!("a record must be an object, found {}", describe(&payload)).into(),
                );
            }
            None => return Err("there is no record to give out".to_owned().into()),
        }
        Ok(())
    }
}
