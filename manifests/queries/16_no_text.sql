-- No manifest column has room for a text or a personal value: words of closed sets, labels, host names and short quotes,
-- and no e-mail address or international phone number in any of them. Left out are `path`, the name that the document
-- came under, and `rule` (at most 200 characters), a line that a site publishes about itself. Each row is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 16_no_text.sql | duckdb
WITH words AS (
    SELECT DISTINCT 'kept' AS place, 'trail' AS column_name, trail AS word FROM read_parquet($kept)
    UNION ALL SELECT DISTINCT 'kept', 'language', language FROM read_parquet($kept)
    UNION ALL SELECT DISTINCT 'kept', 'license', license FROM read_parquet($kept)
    UNION ALL SELECT DISTINCT 'kept', 'redactions', unnest(map_keys(redactions)) FROM read_parquet($kept)
    UNION ALL SELECT DISTINCT 'kept', 'rhost', rhost FROM read_parquet($kept)
    UNION ALL SELECT DISTINCT 'decisions', 'rhost', rhost FROM read_parquet($decisions)
    UNION ALL SELECT DISTINCT 'decisions', 'trail', trail FROM read_parquet($decisions)
    UNION ALL SELECT DISTINCT 'decisions', 'language', language FROM read_parquet($decisions)
    UNION ALL SELECT DISTINCT 'decisions', 'stage', stage FROM read_parquet($decisions)
    UNION ALL SELECT DISTINCT 'evidence', 'protocol', protocol FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'host', host FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'agents', agents FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'basis', basis FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'rule', rule FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'fetched_at', fetched_at FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'license', license FROM read_parquet($evidence)
    UNION ALL SELECT DISTINCT 'evidence', 'detector', detector FROM read_parquet($evidence)
)
SELECT place, column_name, left(word, 60) AS starts, CASE
    WHEN column_name = 'trail'
        AND NOT regexp_full_match(word, '[a-z_]+(=([^ =]{0,40}))?( [a-z_]+(=([^ =]{0,40}))?)*') THEN 'not a trail'
    WHEN column_name = 'redactions' AND NOT regexp_full_match(word, '[A-Za-z_]{1,40}') THEN 'not a type'
    WHEN column_name IN ('language', 'fetched_at', 'basis', 'protocol') AND length(word) > 80 THEN 'too long for a label'
    WHEN column_name IN ('host', 'rhost') AND (length(word) > 400 OR word LIKE '%@%') THEN 'not a host'
    WHEN length(word) > CASE WHEN column_name IN ('agents', 'license') THEN 4000 WHEN column_name = 'rhost' THEN 400
        ELSE 200 END THEN 'too long for what it is'
    WHEN column_name <> 'rule' AND regexp_matches(word, '[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}')
        AND NOT regexp_matches(word, '@[0-9]') THEN 'an e-mail address'
    WHEN column_name NOT IN ('rule', 'host', 'rhost', 'detector') AND regexp_matches(word, '\+[0-9][0-9 -]{8,}')
        THEN 'a phone number'
END AS violation
FROM words WHERE word IS NOT NULL AND violation IS NOT NULL
ORDER BY ALL
