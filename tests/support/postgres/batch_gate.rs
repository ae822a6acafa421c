//! A gate in the middle of each BatchRevoke in PostgreSQL: there its keys are changed and its writes are not
//! stored yet.

use crate::support::postgres::session;
use tokio_postgres::Client;

const OPEN: &str = "INSERT INTO public.gate VALUES (true)";

/// It can be opened, which is for good.
pub struct BatchGate(Client);

impl BatchGate {
    /// A shut gate in the store at this address, which must have its tables.
    pub async fn shut(store: &str) -> Self {
        let session = session(store).await;
        let gate = "CREATE TABLE public.gate (is_open boolean); \
                    CREATE FUNCTION public.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                        WHILE NOT EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; \
                        RETURN NULL; END $$; \
                    CREATE TRIGGER gate AFTER INSERT ON keyservice.audit FOR EACH ROW \
                    WHEN (NEW.method = 'BatchRevoke' AND NEW.key_id IS NOT NULL) \
                    EXECUTE FUNCTION public.wait_at_gate(); \
                    GRANT SELECT ON public.gate TO PUBLIC";
        session.batch_execute(gate).await.expect("made");
        Self(session)
    }

    /// Whether a batch waits at it.
    pub async fn holds_a_batch(&self) -> bool {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND wait_event = 'PgSleep'";
        let row = self.0.query_one(waiting, &[]).await;
        row.expect("an answer").get::<_, i64>(0) == 1
    }

    /// Whether a batch has not ended, although its client may be gone.
    pub async fn is_a_batch_under_way(&self) -> bool {
        let active =
            "SELECT count(*) FROM pg_locks WHERE relation = 'keyservice.writers_lock'::regclass";
        let row = self.0.query_one(active, &[]).await;
        row.expect("an answer").get::<_, i64>(0) > 0
    }

    /// Ends the session of the batch that waits.
    pub async fn end_its_session(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event = 'PgSleep'";
        self.0.batch_execute(end).await.expect("ended");
    }

    pub async fn open(&self) {
        self.0.batch_execute(OPEN).await.expect("opened");
    }

    /// Opens the gate of a store whose server has ended all sessions since.
    pub async fn open_in(store: &str) {
        session(store)
            .await
            .batch_execute(OPEN)
            .await
            .expect("opened");
    }
}
