//! Objects that a hostile role puts where SQL may look for PostgreSQL's own: functions, operators,
//! types and views in the schema `public`, and casts between a type of its own and PostgreSQL's.
//!
//! Their names are those of PostgreSQL's objects that the service's source mentions anywhere. Whatever
//! runs one leaves [`TRACE`] in the server's log.

use crate::support::postgres::Cluster;
use std::{collections::BTreeSet, fs, path::Path};

/// What the log has after any planted object was used.
pub const TRACE: &str = "planted code ran";

/// Has this role plant everything that it may, as of now. May be called again, when there are more
/// types and relations to plant for.
pub fn plant_in_public(cluster: &Cluster, address: &str) {
    let source = sql_source();
    let words = array(words(&source, |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
    }));
    let operators = array(words_of_operators(&source));
    let plant = PLANT
        .replace("$words", &words)
        .replace("$operators", &operators)
        .replace("$trace", TRACE);
    let planted = cluster.psql_at(address, &plant);
    let planted: u32 = planted.parse().expect("a number");
    assert!(planted > 1000, "only {planted} objects");
}

/// Everything that may hold SQL of the PostgreSQL store.
fn sql_source() -> String {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    text_of_all_files_in(&store)
}

fn text_of_all_files_in(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let texts = paths.map(|path| {
        if path.is_dir() {
            text_of_all_files_in(&path)
        } else {
            fs::read_to_string(path).expect("read")
        }
    });
    texts.collect()
}

fn words(source: &str, is_in_word: impl Fn(char) -> bool) -> BTreeSet<&str> {
    let words = source.split(|c| !is_in_word(c));
    words.filter(|word| !word.is_empty()).collect()
}

fn words_of_operators(source: &str) -> BTreeSet<&str> {
    words(source, |c| "+-*/<>=~!@#%^&|`?".contains(c))
}

fn array(words: BTreeSet<&str>) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("ARRAY[{}]::text[]", quoted.join(","))
}

/// Counts what is there at the end. What this role may not create, or PostgreSQL refuses, is left out.
/// Its own path is PostgreSQL's alone, or it would run what was planted before.
const PLANT: &str = r#"
SET client_min_messages = error;
SET search_path = pg_catalog, pg_temp;
SET check_function_bodies = off;
DO $plant$
DECLARE
    v_body CONSTANT text := $$ BEGIN RAISE LOG '$trace: %s'; RAISE '$trace'; END $$;
    v_types regtype[] := ARRAY['text', 'varchar', 'name', 'int4', 'int8', 'uuid', 'timestamptz',
        'bytea', 'bool', 'text[]', 'int8[]', 'int4[]', 'uuid[]', 'timestamptz[]']::regtype[];
    v_scalars regtype[] :=
        ARRAY['text', 'varchar', 'name', 'int4', 'int8', 'uuid', 'timestamptz', 'bool']::regtype[];
    v record;
    v_sql text;
    v_statements text[] := '{}';
BEGIN
    -- A type of its own, and casts between it and each of the others: without being asked for where it is
    -- the target, and in assignments where it is the source.
    IF to_regtype('public.planted') IS NULL THEN
        CREATE TYPE public.planted AS ENUM ('a');
    END IF;
    v_statements := v_statements || ARRAY(
        SELECT s FROM unnest(v_types) WITH ORDINALITY u (t, n), LATERAL unnest(ARRAY[
            format('CREATE FUNCTION public.planted_cast(%s) RETURNS public.planted LANGUAGE plpgsql AS %L',
                t, format(v_body, 'cast')),
            format('CREATE FUNCTION public.planted_cast_%s(public.planted) RETURNS %s LANGUAGE plpgsql AS %L',
                n, t, format(v_body, 'cast')),
            format('CREATE CAST (%s AS public.planted) WITH FUNCTION public.planted_cast(%s) AS IMPLICIT', t, t),
            format('CREATE CAST (public.planted AS %s) WITH FUNCTION public.planted_cast_%s(public.planted) '
                'AS ASSIGNMENT', t, n)]) s);
    v_types := v_types || 'public.planted'::regtype;
    v_scalars := v_scalars || 'public.planted'::regtype;

    -- The rows of this service's tables and views, once they exist.
    v_types := v_types || ARRAY(
        SELECT t.oid::regtype FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'keyservice' AND has_schema_privilege(n.oid, 'USAGE'));

    -- Functions: with the arguments of PostgreSQL's own, and with every one or two of these types.
    FOR v IN
        SELECT p.oid, p.proname, pg_get_function_identity_arguments(p.oid) AS arguments,
            CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || p.prorettype::regtype AS result,
            p.pronargs, p.proretset, p.prorettype
        FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ($words)
    LOOP
        v_statements := v_statements || format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            v.proname, v.arguments, v.result, format(v_body, v.proname));
        IF v.pronargs = 1 THEN
            v_statements := v_statements || ARRAY(
                SELECT format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                    v.proname, t,
                    CASE WHEN v.proretset THEN 'SETOF ' ELSE '' END
                        || CASE WHEN v.prorettype = 'anyelement'::regtype
                           THEN coalesce(nullif(e.typelem, 0), t::oid)::regtype ELSE v.prorettype::regtype END,
                    format(v_body, v.proname))
                FROM unnest(v_types) t JOIN pg_type e ON e.oid = t);
        ELSIF v.pronargs = 2 THEN
            v_statements := v_statements || ARRAY(
                SELECT format('CREATE FUNCTION public.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                    v.proname, l, r, v.result, format(v_body, v.proname))
                FROM unnest(v_scalars) l, unnest(v_scalars) r);
        END IF;
    END LOOP;

    -- Operators between any two of these types.
    v_statements := v_statements || ARRAY(
        SELECT format('CREATE FUNCTION public.planted_operator(%s, %s) RETURNS bool LANGUAGE plpgsql AS %L',
            l, r, format(v_body, 'operator'))
        FROM unnest(v_scalars) l, unnest(v_scalars) r);
    v_statements := v_statements || ARRAY(
        SELECT format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.planted_operator)',
            o, l, r)
        FROM unnest(v_scalars) l, unnest(v_scalars) r,
            (SELECT DISTINCT oprname FROM pg_operator WHERE oprname = ANY ($operators)) s (o));

    -- Types, relations and a collation.
    v_statements := v_statements || ARRAY[format(
        'CREATE FUNCTION public.planted_value() RETURNS bool LANGUAGE plpgsql AS %L', format(v_body, 'value'))];
    v_statements := v_statements || ARRAY(
        SELECT format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (public.planted_value())', typname, typname)
        FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typname = ANY ($words));
    v_statements := v_statements || ARRAY(
        SELECT DISTINCT format('CREATE VIEW public.%I AS SELECT public.planted_value()', relname)
        FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'keyservice'))
          AND relname = ANY ($words));
    v_statements := v_statements || ARRAY['CREATE COLLATION public."C" FROM pg_catalog."POSIX"'];

    FOREACH v_sql IN ARRAY v_statements LOOP
        BEGIN
            EXECUTE v_sql;
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END $plant$;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace;
"#;
