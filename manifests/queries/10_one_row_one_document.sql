-- All records of one input row speak of one document (key, host, length as read), nothing is decided about it after its
-- exclusion, and no stage decides twice. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 10_one_row_one_document.sql | duckdb
WITH d AS (
    SELECT parse_filename(filename, true) AS task, key, file_row, rhost, path, stage, action, text_bytes
    FROM read_parquet($decisions, filename = true)
),
k AS (
    SELECT parse_filename(filename, true) AS task, key, file_row, rhost FROM read_parquet($kept, filename = true)
),
positions AS (
    SELECT task, stage, min(position) AS position FROM read_parquet($counts) GROUP BY ALL
),
several AS (SELECT task, file_row FROM d GROUP BY task, file_row HAVING count(*) > 1),
placed AS (
    SELECT d.*, positions.position FROM d JOIN several ON d.task = several.task AND d.file_row = several.file_row
    LEFT JOIN positions ON d.task = positions.task AND d.stage = positions.stage
),
ends AS (
    SELECT task, file_row, min(position) AS position FROM placed WHERE action = 'exclude' GROUP BY ALL
)
SELECT task, file_row, 'its records name several keys, hosts, paths or lengths' AS violation
FROM placed GROUP BY task, file_row
HAVING count(DISTINCT key) > 1 OR count(DISTINCT coalesce(rhost, '')) > 1 OR count(DISTINCT coalesce(path, '')) > 1
    OR count(DISTINCT text_bytes) > 1
UNION ALL
SELECT k.task, k.file_row, 'kept and decided under different keys or hosts'
FROM k JOIN d ON k.task = d.task AND k.file_row = d.file_row
WHERE k.key <> d.key OR k.rhost IS DISTINCT FROM d.rhost
UNION ALL
SELECT placed.task, placed.file_row, 'decided by ' || stage || ' after its exclusion'
FROM placed JOIN ends ON placed.task = ends.task AND placed.file_row = ends.file_row
WHERE placed.position > ends.position
UNION ALL
SELECT task, file_row, 'decided ' || count(*) || ' times by ' || stage
FROM placed GROUP BY task, file_row, stage HAVING count(*) > 1
ORDER BY ALL
