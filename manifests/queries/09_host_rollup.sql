-- The table of hosts says what the rows of kept and excluded documents say: documents, bytes and shards per host, stage
-- and reason. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 09_host_rollup.sql | duckdb
WITH rolled AS (
    SELECT rhost, action, stage, reason, rows, text_bytes, shards FROM read_parquet($hosts)
),
counted AS (
    SELECT rhost, 'keep' AS action, CAST(NULL AS VARCHAR) AS stage, CAST(NULL AS VARCHAR) AS reason,
        count(*) AS rows, CAST(sum(text_bytes) AS BIGINT) AS text_bytes,
        list_sort(list_distinct(list(shard))) AS shards
    FROM read_parquet($kept) GROUP BY rhost
    UNION ALL
    SELECT rhost, action, stage, reason, count(*), CAST(sum(text_bytes) AS BIGINT), NULL
    FROM read_parquet($decisions) WHERE action = 'exclude' GROUP BY rhost, action, stage, reason
)
SELECT 'in hosts, not in the rows' AS violation, * FROM (FROM rolled EXCEPT ALL FROM counted)
UNION ALL
SELECT 'in the rows, not in hosts', * FROM (FROM counted EXCEPT ALL FROM rolled)
ORDER BY ALL
