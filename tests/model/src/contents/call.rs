//! Owns what a call of Authorize does with the keyring.
//! Promises that the correct call sees both domains as they were at one moment.
//! Must never look at the database.

use super::{
    Protocol, Variant,
    promise::Outcome,
    state::{Call, State},
    step::Step,
};

impl Protocol {
    pub(crate) fn take_in_call(&self, step: Step, state: &mut State) {
        match (step, state.replica.and_then(|replica| replica.lease)) {
            (Step::StartAuthorize, Some(lease)) => {
                state.call = Some(Call::new(lease, state.returned));
            }
            (Step::See(domain), _) => {
                state.see(domain, 0);
                state.see(domain, 1);
                self.answer(state);
            }
            (Step::SeePart(domain, part), _) => {
                state.see(domain, part);
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
            let answer = state.judge(&call, contents, replica.held);
            state.end(Outcome::Answered(answer));
        }
    }
}

impl State {
    fn see(&mut self, domain: usize, part: usize) {
        let (Some(call), Some(replica)) = (&mut self.call, &self.replica) else {
            return;
        };
        let keyring = call.replaced.unwrap_or(replica.keyring);
        let parts = [keyring[domain].name, keyring[domain].subdomains];
        call.seen[domain][part] = Some(parts[part]);
        call.met_skipping |= replica.is_skipping;
    }
}
