-- The counts of what was excluded and altered are the sums over the decisions themselves: per task, stage, reason and
-- language, in documents and in bytes. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 05_counts_from_decisions.sql | duckdb
WITH counted AS (
    SELECT task, stage, action, reason, language,
        CAST(sum(rows) AS BIGINT) AS rows, CAST(sum(text_bytes) AS BIGINT) AS text_bytes
    FROM read_parquet($counts) WHERE action <> 'keep' GROUP BY ALL
),
decided AS (
    SELECT parse_filename(filename, true) AS task, stage, action, reason, language,
        count(*) AS rows, CAST(sum(text_bytes) AS BIGINT) AS text_bytes
    FROM read_parquet($decisions, filename = true) GROUP BY ALL
)
SELECT 'counted, but decided otherwise' AS violation, * FROM (FROM counted EXCEPT ALL FROM decided)
UNION ALL
SELECT 'decided, but counted otherwise', * FROM (FROM decided EXCEPT ALL FROM counted)
ORDER BY ALL
