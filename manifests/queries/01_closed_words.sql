-- Every stage, action and reason is a word of the closed set (format 2), and no two of them contradict each other:
-- nothing is excluded for a reason that speaks for the document, nothing stays whose text could not be read or whose
-- owner's file names an AI agent. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 01_closed_words.sql | duckdb
WITH outcomes AS (
    SELECT 'counts: task ' || task AS place, stage, action, reason FROM read_parquet($counts)
    UNION ALL
    SELECT 'decisions: task ' || parse_filename(filename, true), stage, action, reason
    FROM read_parquet($decisions, filename = true)
),
judged AS (
    SELECT *, CASE
        WHEN NOT (stage IN ('intake', 'robots', 'license', 'language', 'toxicity', 'filter', 'pii')
            OR stage LIKE 'filter:_%') THEN 'unknown stage'
        WHEN action NOT IN ('keep', 'alter', 'exclude') THEN 'unknown action'
        WHEN reason NOT IN (
            'read', 'empty_text', 'missing_text', 'too_large', 'unreadable_row', 'undecodable', 'invalid_unicode',
            'http_status', 'not_html', 'extraction_failed', 'allowed', 'no_file', 'fetch_error', 'parse_error',
            'host_unknown', 'no_url', 'agent_disallowed', 'star_disallowed', 'signal_reserved', 'takedown',
            'permissive', 'restricted', 'no_evidence', 'conflict', 'unrecognized', 'identified', 'trusted',
            'low_score', 'not_selected', 'undetermined', 'mismatch', 'clean', 'cleared', 'toxic', 'unscored_language',
            'passed', 'filtered', 'altered', 'redacted') THEN 'unknown reason'
        WHEN action = 'exclude' AND reason IN ('read', 'allowed', 'permissive', 'identified', 'trusted', 'clean',
            'cleared', 'passed', 'altered', 'redacted') THEN 'excluded for a reason to keep'
        WHEN action <> 'exclude' AND reason IN ('empty_text', 'missing_text', 'too_large', 'unreadable_row',
            'undecodable', 'invalid_unicode', 'http_status', 'not_html', 'extraction_failed', 'agent_disallowed',
            'star_disallowed', 'signal_reserved', 'takedown', 'filtered') THEN 'not excluded for a reason to exclude'
        WHEN action = 'alter' AND reason NOT IN ('altered', 'redacted') THEN 'altered for no reason to alter'
        WHEN action = 'keep' AND reason IN ('altered', 'redacted') THEN 'altered without saying so'
    END AS violation
    FROM outcomes
)
SELECT place, stage, action, reason, violation, count(*) AS rows
FROM judged
WHERE violation IS NOT NULL
GROUP BY ALL
ORDER BY ALL
