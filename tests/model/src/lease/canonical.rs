//! Owns the names of moments and of renewals.
//! Promises that two states become equal if they differ only in names or in parts that no step uses.
//! Must never merge states that a step can distinguish.

use super::state::{
    Call, LONG_AGO, Moment, Number, Progress, Read, Renewal, Replica, Row, Rows, Standing, State,
    Wait,
};

/// More than there are numbers in a state.
const NUMBERS: usize = 32;

/// The number of a renewal that has no name yet. No other renewal has it.
pub(crate) const NEW: Number = 31;

impl<const N: usize> State<N> {
    /// Brings a state into the common form of all equivalent states. Numbers keep their values in the
    /// variant in which the values have a meaning.
    pub(crate) fn make_canonical(&mut self, rename_numbers: bool) {
        for id in 0..N {
            self.rename_moments(id);
            if rename_numbers {
                self.drop_useless_sightings(id);
                self.rename_numbers(id);
            }
        }
    }

    /// Steps compare the moment of a sighting only with each `t0` of the replica, so only their order
    /// is kept.
    fn rename_moments(&mut self, id: usize) {
        let mut begun = [LONG_AGO; 4];
        for (place, t0) in begun.iter_mut().zip(self.replicas[id].begun()) {
            *place = *t0;
        }
        begun.sort_unstable();
        let rename = |moment: &mut Moment| {
            let mut name = LONG_AGO;
            for (earlier, later) in begun.iter().zip(&begun[1..]) {
                name += Moment::from(earlier < later && later <= moment);
            }
            *moment = name;
        };
        self.replicas[id].begun().for_each(rename);
        for observer in &mut self.replicas {
            if let Some(sighting) = &mut observer.sightings[id] {
                rename(&mut sighting.a);
            }
            if let Some(Wait { standing, .. }) = &mut observer.wait
                && let Standing::Behind { a } = &mut standing[id]
            {
                rename(a);
            }
            if let Some(renewal) = &mut observer.renewal {
                rename(&mut renewal.asked[id]);
            }
        }
    }

    /// Removes a sighting of a number that no read will show again, since no step uses it.
    fn drop_useless_sightings(&mut self, id: usize) {
        let mut shown = [false; NUMBERS];
        for number in self.numbers_to_be_shown(id) {
            shown[usize::from(*number)] = true;
        }
        for observer in &mut self.replicas {
            observer.sightings[id].take_if(|sighting| !shown[usize::from(sighting.renewals)]);
        }
    }

    /// Numbers a replica's renewals in their order in the state.
    fn rename_numbers(&mut self, id: usize) {
        let mut names = [0; NUMBERS];
        let mut last = 0;
        let mut rename = |number: &mut Number| {
            let name = &mut names[usize::from(*number)];
            if *name == 0 {
                last += 1;
                *name = last;
            }
            *number = *name;
        };
        self.numbers_to_be_shown(id).for_each(&mut rename);
        let observers = self.replicas.iter_mut();
        let sightings = observers.filter_map(|observer| observer.sightings[id].as_mut());
        sightings.for_each(|sighting| rename(&mut sighting.renewals));
    }

    /// The numbers of a replica's renewals that a read may still show.
    fn numbers_to_be_shown(&mut self, id: usize) -> impl Iterator<Item = &mut Number> {
        let row = self.database.rows[id].as_mut().map(number_of);
        let replicas = self.replicas.iter_mut().enumerate();
        let elsewhere = replicas.flat_map(move |(holder, replica)| {
            let Replica {
                renewal,
                late,
                wait,
                ..
            } = replica;
            let (call, answer) = match renewal {
                Some(Renewal { call, progress, .. }) => (Some(call), rows_in(progress)),
                None => (None, None),
            };
            let read = wait.as_mut().and_then(|wait| wait.read.as_mut());
            let own = [call, late.as_mut()].map(move |call| {
                let call: Option<&mut Call> = call.filter(|_| holder == id);
                call.map(|call| &mut call.number)
            });
            let of_rows = [answer, read].map(|rows| rows?[id].as_mut().map(number_of));
            own.into_iter().chain(of_rows).flatten()
        });
        row.into_iter().chain(elsewhere)
    }
}

fn number_of(row: &mut Row) -> &mut Number {
    &mut row.renewals
}

fn rows_in<const N: usize>(progress: &mut Progress<N>) -> Option<&mut Rows<N>> {
    match progress {
        Progress::Sent => None,
        Progress::Open(Read { rows, .. }) | Progress::Answered(Read { rows, .. }) => rows.as_mut(),
    }
}
