-- Kept documents fill each shard's rows from 0 without gap or sharing, and a shard belongs to one task.
-- Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 07_shard_rows.sql | duckdb
WITH k AS (
    SELECT parse_filename(filename, true) AS task, shard, shard_row FROM read_parquet($kept, filename = true)
)
SELECT shard, shard_row, count(*) || ' documents claim this row' AS violation
FROM k GROUP BY shard, shard_row HAVING count(*) > 1
UNION ALL
SELECT shard, max(shard_row), 'its rows have gaps: ' || count(DISTINCT shard_row) || ' of ' || (max(shard_row) + 1)
FROM k GROUP BY shard HAVING min(shard_row) < 0 OR max(shard_row) + 1 <> count(DISTINCT shard_row)
UNION ALL
SELECT shard, NULL, 'claimed by tasks ' || string_agg(DISTINCT task, ', ' ORDER BY task)
FROM k GROUP BY shard HAVING count(DISTINCT task) > 1
ORDER BY ALL
