-- What was excluded, by stage and reason: documents, bytes of text, and the share of all documents read.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" excluded_by_reason.sql | duckdb
SELECT
    stage, reason,
    CAST(sum(rows) AS BIGINT) AS documents,
    CAST(sum(text_bytes) AS BIGINT) AS text_bytes,
    round(100.0 * sum(rows) / any_value(rows_read), 3) AS percent_of_read
FROM read_parquet($counts), (SELECT sum(rows) AS rows_read FROM read_parquet($counts) WHERE stage = 'intake')
WHERE action = 'exclude'
GROUP BY stage, reason
ORDER BY max(max(position)) OVER (PARTITION BY stage), stage, documents DESC, reason
