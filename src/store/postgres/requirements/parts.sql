-- The parts of the schema `keyservice` of which parts.txt lists those that the migrations make: the same
-- text for the same part in every version of PostgreSQL and with any search path. The state of a part
-- that does its work is empty.
WITH schema AS (
    SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice'),
relations AS (
    SELECT c.oid, c.relname AS name, c.relkind AS kind
    FROM pg_catalog.pg_class c JOIN schema s ON c.relnamespace OPERATOR(pg_catalog.=) s.oid)
SELECT pg_catalog.concat(CASE
        WHEN r.kind OPERATOR(pg_catalog.=) 'r' THEN 'table'
        WHEN r.kind OPERATOR(pg_catalog.=) 'v' THEN 'view'
        WHEN r.kind OPERATOR(pg_catalog.=) 'm' THEN 'materialized view'
        WHEN r.kind OPERATOR(pg_catalog.=) 'f' THEN 'foreign table'
        WHEN r.kind OPERATOR(pg_catalog.=) 'p' THEN 'partitioned table'
        WHEN r.kind OPERATOR(pg_catalog.=) 'S' THEN 'sequence'
        WHEN r.kind OPERATOR(pg_catalog.=) 'i' THEN 'index'
        WHEN r.kind OPERATOR(pg_catalog.=) 'I' THEN 'partitioned index'
        WHEN r.kind OPERATOR(pg_catalog.=) 'c' THEN 'composite type'
        ELSE 'relation' END, ' ', r.name) AS part,
    '' AS state
FROM relations r
UNION ALL
SELECT pg_catalog.concat('column ', r.name, '.', a.attname, ' ', t.typname,
        CASE WHEN a.attnotnull THEN ' not null' END, CASE WHEN a.atthasdef THEN ' default' END,
        CASE WHEN a.attidentity OPERATOR(pg_catalog.<>) '' THEN ' identity' END), ''
FROM relations r
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
WHERE (r.kind OPERATOR(pg_catalog.=) 'r' OR r.kind OPERATOR(pg_catalog.=) 'v')
  AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped
UNION ALL
SELECT pg_catalog.concat(CASE WHEN i.indisunique THEN 'unique index ' ELSE 'plain index ' END, x.name, ' on ', r.name),
    CASE WHEN i.indisvalid AND i.indisready THEN '' ELSE pg_catalog.concat('REINDEX INDEX keyservice.', x.name) END
FROM relations r
JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) r.oid
JOIN relations x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid
UNION ALL
-- Checks and foreign keys. An index stands for each other constraint. The triggers of a foreign key, some on
-- the other table, can be disabled, and from version 18 on, a constraint can be one that is not enforced.
SELECT pg_catalog.concat('constraint ', c.conname, ' on ', r.name),
    CASE WHEN pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conenforced' OPERATOR(pg_catalog.=) 'false'
            THEN pg_catalog.concat('ALTER TABLE keyservice.', r.name, ' ALTER CONSTRAINT ', c.conname, ' ENFORCED')
        ELSE coalesce((
            SELECT pg_catalog.concat('ALTER TABLE keyservice.', pg_catalog.min(o.name::pg_catalog.text), ' ENABLE TRIGGER ALL')
            FROM pg_catalog.pg_trigger t JOIN relations o ON o.oid OPERATOR(pg_catalog.=) t.tgrelid
            WHERE t.tgconstraint OPERATOR(pg_catalog.=) c.oid
              AND t.tgenabled OPERATOR(pg_catalog.<>) 'O' AND t.tgenabled OPERATOR(pg_catalog.<>) 'A'
            HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0::pg_catalog.int8), '') END
FROM relations r
JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) r.oid
WHERE c.contype OPERATOR(pg_catalog.=) 'c' OR c.contype OPERATOR(pg_catalog.=) 'f'
UNION ALL
SELECT pg_catalog.concat('trigger ', t.tgname, ' on ', r.name),
    CASE WHEN t.tgenabled OPERATOR(pg_catalog.=) 'O' OR t.tgenabled OPERATOR(pg_catalog.=) 'A' THEN ''
        ELSE pg_catalog.concat('ALTER TABLE keyservice.', r.name, ' ENABLE TRIGGER ', t.tgname) END
FROM relations r
JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT pg_catalog.concat('function ', p.proname, '(', (
        SELECT pg_catalog.string_agg(t.typname, ', ' ORDER BY a.place)
        FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY a (type, place)
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.type), ')'), ''
FROM pg_catalog.pg_proc p JOIN schema s ON p.pronamespace OPERATOR(pg_catalog.=) s.oid
WHERE p.prokind OPERATOR(pg_catalog.=) 'f'
