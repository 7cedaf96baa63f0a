-- Documents whose owner made no statement that we could read: no snapshot covers the host, the file could not be
-- fetched or parsed, or the row has no URL. Counted here, never as "allowed".
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" unknown_consent.sql | duckdb
SELECT
    reason, action, source,
    CAST(sum(rows) AS BIGINT) AS documents,
    CAST(sum(text_bytes) AS BIGINT) AS text_bytes
FROM read_parquet($counts)
WHERE stage = 'robots' AND reason IN ('fetch_error', 'parse_error', 'host_unknown', 'no_url')
GROUP BY reason, action, source
ORDER BY documents DESC, reason, action, source
