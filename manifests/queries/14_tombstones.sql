-- For a version made by a retraction: every tombstone is a document that its parent kept, in that place, and that this
-- version excludes for that reason; no document left the corpus without one; what is listed as allowed again is still
-- excluded here. `$before`: the parent's tables `kept`. Each row returned is a violation.
-- By hand, beside the folder `manifests`, for version 2 made from version 1:
-- sed -E "s:[$](kept|decisions):'manifests/v0002/\1/*.parquet':g; s:[$](tombstones|returned):'manifests/v0002/\1.parquet':g; s:[$]before:'manifests/v0001/kept/*.parquet':g" 14_tombstones.sql | duckdb
WITH t AS (FROM read_parquet($tombstones)),
before AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename) FROM read_parquet($before, filename = true)
),
k AS (
    SELECT parse_filename(filename, true) AS task, key, file_row FROM read_parquet($kept, filename = true)
),
d AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename)
    FROM read_parquet($decisions, filename = true) WHERE action = 'exclude'
)
SELECT task, file_row, key, 'the parent version does not keep it there' AS violation
FROM t ANTI JOIN before b ON t.task = b.task AND t.file_row = b.file_row AND t.key = b.key
    AND t.rhost IS NOT DISTINCT FROM b.rhost AND t.shard = b.shard AND t.shard_row = b.shard_row
    AND t.text_bytes = b.text_bytes
UNION ALL
SELECT task, file_row, key, 'this version does not exclude it so'
FROM t ANTI JOIN d ON t.task = d.task AND t.file_row = d.file_row AND t.key = d.key AND t.reason = d.reason
    AND t.evidence_id IS NOT DISTINCT FROM d.evidence_id
UNION ALL
SELECT b.task, b.file_row, b.key, 'left the corpus without a tombstone'
FROM (FROM before ANTI JOIN k ON before.task = k.task AND before.file_row = k.file_row AND before.key = k.key) b
ANTI JOIN t ON b.task = t.task AND b.file_row = t.file_row AND b.key = t.key
UNION ALL
SELECT task, file_row, any_value(key), count(*) || ' tombstones' FROM t GROUP BY task, file_row HAVING count(*) > 1
UNION ALL
SELECT r.task, r.file_row, r.key, 'listed as allowed again, but not excluded'
FROM read_parquet($returned) r ANTI JOIN d ON r.task = d.task AND r.file_row = d.file_row AND r.key = d.key
ORDER BY ALL
