-- Bytes of text are conserved as documents are: what intake passed is what later stages excluded plus what was kept,
-- each as it was read (an altered document counts with its length before). Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 06_text_bytes.sql | duckdb
WITH passed AS (
    SELECT task, sum(text_bytes) FILTER (stage = 'intake') AS read_bytes,
        coalesce(sum(text_bytes) FILTER (action = 'exclude'), 0) AS excluded_bytes
    FROM read_parquet($counts) GROUP BY task
),
altered AS (
    SELECT parse_filename(filename, true) AS task, file_row, any_value(text_bytes) AS as_read
    FROM read_parquet($decisions, filename = true) WHERE action = 'alter' GROUP BY ALL
),
kept AS (
    SELECT parse_filename(filename, true) AS task, file_row, text_bytes FROM read_parquet($kept, filename = true)
),
kept_bytes AS (
    SELECT kept.task, sum(coalesce(as_read, text_bytes)) AS kept_bytes
    FROM kept LEFT JOIN altered ON kept.task = altered.task AND kept.file_row = altered.file_row GROUP BY kept.task
)
SELECT passed.task, read_bytes, excluded_bytes, coalesce(kept_bytes, 0) AS kept_bytes,
    'bytes are not conserved' AS violation
FROM passed LEFT JOIN kept_bytes ON passed.task = kept_bytes.task
WHERE read_bytes IS DISTINCT FROM excluded_bytes + coalesce(kept_bytes, 0)
ORDER BY ALL
