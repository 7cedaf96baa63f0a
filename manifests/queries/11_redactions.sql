-- A kept document says how many personal values were replaced exactly when a decision says that it was redacted.
-- Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 11_redactions.sql | duckdb
WITH k AS (
    SELECT parse_filename(filename, true) AS task, file_row, redactions FROM read_parquet($kept, filename = true)
),
d AS (
    SELECT DISTINCT parse_filename(filename, true) AS task, file_row FROM read_parquet($decisions, filename = true)
    WHERE action = 'alter' AND reason = 'redacted'
)
SELECT k.task, k.file_row, CASE
    WHEN d.file_row IS NULL THEN 'redactions counted, but no decision says so'
    WHEN k.redactions IS NULL THEN 'redacted, but nothing is counted'
    ELSE 'a count of redactions is not positive'
END AS violation
FROM k LEFT JOIN d ON k.task = d.task AND k.file_row = d.file_row
WHERE (d.file_row IS NULL) <> (k.redactions IS NULL)
    OR list_min(map_values(k.redactions)) <= 0
ORDER BY ALL
