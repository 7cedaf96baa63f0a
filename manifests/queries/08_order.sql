-- Tables are sorted by reversed host, key and row (hosts.parquet by host), so that one host is one range and absence is provable by two
-- neighbours. Each row returned is a violation: a row that belongs before its predecessor.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 08_order.sql | duckdb
WITH placed AS (
    SELECT 'kept' AS kind, filename, file_row_number AS place, coalesce(rhost, '') AS rhost, key, file_row
    FROM read_parquet($kept, filename = true, file_row_number = true)
    UNION ALL
    SELECT 'decisions', filename, file_row_number, coalesce(rhost, ''), key, file_row
    FROM read_parquet($decisions, filename = true, file_row_number = true)
    UNION ALL
    SELECT 'hosts', filename, file_row_number, coalesce(rhost, ''), ''::BLOB, 0
    FROM read_parquet($hosts, filename = true, file_row_number = true)
),
neighbours AS (
    SELECT *, lag(rhost) OVER step AS rhost_before, lag(key) OVER step AS key_before,
        lag(file_row) OVER step AS row_before
    FROM placed WINDOW step AS (PARTITION BY filename ORDER BY place)
)
SELECT kind, parse_filename(filename, true) AS task, place, rhost, file_row, 'comes after ' || rhost_before AS violation
FROM neighbours
WHERE rhost < rhost_before
    OR (rhost = rhost_before AND (key < key_before OR (key = key_before AND file_row < row_before)))
ORDER BY ALL
