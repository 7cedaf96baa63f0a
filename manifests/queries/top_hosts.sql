-- The hundred hosts with most kept documents, with what was excluded from each.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" top_hosts.sql | duckdb
SELECT
    CASE WHEN regexp_matches(rhost, '^([[]|[0-9]+[.:])') THEN rhost ELSE
        array_to_string(list_reverse(string_split(regexp_replace(rhost, ':[0-9]+$', ''), '.')), '.')
        || regexp_extract(rhost, ':[0-9]+$') END AS host,
    CAST(coalesce(sum(rows) FILTER (action = 'keep'), 0) AS BIGINT) AS kept,
    CAST(coalesce(sum(rows) FILTER (action = 'exclude'), 0) AS BIGINT) AS excluded,
    CAST(coalesce(sum(text_bytes) FILTER (action = 'keep'), 0) AS BIGINT) AS kept_bytes
FROM read_parquet($hosts)
WHERE rhost IS NOT NULL
GROUP BY rhost
ORDER BY kept DESC, excluded DESC, rhost
LIMIT 100
