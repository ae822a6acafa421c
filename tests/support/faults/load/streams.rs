//! Clients that ask for several keys at once, on a stream that they open again when it ends.

use super::{AUTHORIZE_PAUSE, DOMAIN, LONG_PAUSE, LONG_TIMEOUT, Load, pause};
use crate::support::{
    clients::{callers::Bearer, questions::Questions},
    faults::keys::KnownKey,
};
use keyservice::grpc::proto::{authorize_response::Decision, authorize_stream_response::Answer};
use prost::Message;
use rand::{RngExt, rngs::StdRng};
use std::sync::Arc;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

/// How many questions are asked before their answers are waited for.
const MOST_QUESTIONS: usize = 8;

impl Load {
    pub(super) async fn ask_on_streams_until_stopped(
        self: Arc<Self>,
        replica: usize,
        mut random: StdRng,
    ) {
        let mut stream = None;
        while !self.stop.is_cancelled() {
            let count = random.random_range(1..=MOST_QUESTIONS);
            let keys = (0..count).filter_map(|_| self.keys().pick(&mut random));
            let keys: Vec<_> = keys.collect();
            let asked = self.ask_on_stream(replica, &mut stream, &keys).await;
            let longest = match asked {
                Ok(()) => AUTHORIZE_PAUSE,
                Err(status) => {
                    stream = None;
                    if let Some(key) = keys.first() {
                        self.count_missing_answer("AuthorizeStream", key.number, replica, &status);
                    }
                    LONG_PAUSE
                }
            };
            pause(longest, &mut random).await;
        }
    }

    /// Asks for each key. Fails if the stream does, or ends before all is answered.
    async fn ask_on_stream(
        &self,
        replica: usize,
        stream: &mut Option<Questions>,
        keys: &[Arc<KnownKey>],
    ) -> Result<(), Status> {
        let late = |_| Status::deadline_exceeded("no answer in time");
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let channel = self.replica_clients[replica].channel();
                let opened = Questions::open_with(channel, Bearer::none(), Request::new(()));
                stream.insert(timeout(LONG_TIMEOUT, opened).await.map_err(late)??)
            }
        };
        let start = self.history.now();
        for (id, key) in (0..).zip(keys) {
            stream.ask(id, &key.token, DOMAIN);
        }
        for (id, key) in (0..).zip(keys) {
            let answer = timeout(LONG_TIMEOUT, stream.next()).await.map_err(late)??;
            let Some((answered, answer)) = answer else {
                return Err(Status::unavailable("the stream has ended"));
            };
            if answered != id {
                let order = format!("replica {replica} answers {answered} instead of {id}");
                self.history.record_wrong_answer(order);
            }
            let decision = match answer {
                Answer::Grant(grant) => Decision::Grant(grant),
                Answer::Denial(denial) => Decision::Denial(denial),
                Answer::Error(error) => {
                    let (code, details) = (Code::from_i32(error.code), error.encode_to_vec());
                    let status = Status::with_details(code, &error.message, details.into());
                    self.count_missing_answer("AuthorizeStream", key.number, replica, &status);
                    continue;
                }
            };
            if let Some(answer) = self.read_decision(key, replica, &decision) {
                self.history
                    .record_authorize(key.number, replica, start, answer);
                self.count_decision(matches!(decision, Decision::Grant(_)));
                self.tally.count(|counts| counts.on_streams += 1);
            }
        }
        Ok(())
    }
}
