//! Owns what a call of Authorize does with the keyring.
//! Promises that the correct call sees both things as they were at one moment.
//! Must never look at the database.

use super::{
    Protocol, Variant,
    promise::Outcome,
    state::{Call, Part, Record, State},
    step::Step,
};

impl Protocol {
    pub(crate) fn take_in_call(&self, step: Step, state: &mut State) {
        match (step, state.replica.and_then(|replica| replica.lease)) {
            (Step::StartAuthorize, Some(lease)) => {
                state.call = Some(Call::new(lease, state.returned));
            }
            (Step::Find, _) => state.find(),
            (Step::See(thing), _) => {
                state.see(thing, Part::Standing);
                state.see(thing, Part::Width);
                self.answer(state);
            }
            (Step::SeePart(thing, part), _) => {
                state.see(thing, part);
                self.answer(state);
            }
            _ => {}
        }
    }

    /// Answers, or looks again, directly after the last look. Later, a change might be counted or the lease
    /// might lapse. Both only withhold an answer that would be the same.
    fn answer(&self, state: &mut State) {
        let (Some(call), Some(replica)) = (state.call, state.replica) else {
            return;
        };
        let Some(contents) = call.contents() else {
            return;
        };
        if call.has_counted && self.variant != Variant::LookNotRepeated {
            state.call = Some(Call::new(call.lease, call.returned));
        } else {
            let answer = state.judge(self.scope.things, &call, contents, replica.held);
            state.end(Outcome::Answered(answer));
        }
    }
}

impl State {
    /// The key's record may become the spare one later, and then be filled with a state that is newer still.
    fn find(&mut self) {
        let (Some(call), Some(replica)) = (&mut self.call, &self.replica) else {
            return;
        };
        call.record = Some(Record {
            condition: call.replaced.unwrap_or(replica.keyring)[0],
            is_current: true,
        });
        call.met_skipping |= replica.is_skipping;
    }

    fn see(&mut self, thing: usize, part: Part) {
        let (Some(call), Some(replica)) = (&mut self.call, &self.replica) else {
            return;
        };
        let keyring = call.replaced.unwrap_or(replica.keyring);
        let record = call.record.filter(|_| thing == 0);
        let condition = record.map_or(keyring[thing], |record| record.condition);
        call.seen[thing].see(part, condition);
        call.met_skipping |= replica.is_skipping;
    }
}
