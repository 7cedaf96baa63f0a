-- What a compliance stage excluded rests on evidence of its task and stage, and no evidence is there for nothing.
-- Robots exclusions name the file: its digest, the agents, and whether they or everybody was named; toxicity ones do
-- not lie under the threshold in their evidence. Each row returned is a violation.
-- By hand, beside the folder `manifests`:
-- sed -E "s:[$](kept|decisions|evidence):'manifests/v0001/\1/*.parquet':g; s:[$](counts|hosts):'manifests/v0001/\1.parquet':g" 03_evidence.sql | duckdb
WITH d AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename) FROM read_parquet($decisions, filename = true)
),
e AS (
    SELECT parse_filename(filename, true) AS task, * EXCLUDE (filename) FROM read_parquet($evidence, filename = true)
),
joined AS (
    SELECT d.task, d.file_row, d.stage, d.reason, d.action, d.score, d.evidence_id, e.evidence_id AS found,
        e.stage AS evidence_stage, e.basis, e.body_sha256, e.agents, e.threshold
    FROM d LEFT JOIN e ON d.task = e.task AND d.evidence_id = e.evidence_id
)
SELECT task, file_row, stage, evidence_id, CASE
    WHEN evidence_id IS NULL AND stage <> 'intake' THEN 'excluded without evidence'
    WHEN evidence_id IS NOT NULL AND found IS NULL THEN 'no such evidence'
    WHEN evidence_stage <> stage THEN 'evidence of stage ' || evidence_stage
    WHEN reason = 'agent_disallowed' AND basis IS DISTINCT FROM 'named' THEN 'no agent was named'
    WHEN reason = 'star_disallowed' AND basis IS DISTINCT FROM 'star' THEN 'not a rule for everybody'
    WHEN reason IN ('agent_disallowed', 'star_disallowed') AND (body_sha256 IS NULL OR agents IS NULL)
        THEN 'names no robots.txt or no agent'
    WHEN reason = 'toxic' AND score < CAST(threshold AS FLOAT)
        THEN 'score ' || score || ' is under the threshold ' || threshold
END AS violation
FROM joined
WHERE (action = 'exclude' OR evidence_id IS NOT NULL) AND violation IS NOT NULL
UNION ALL
SELECT e.task, NULL, e.stage, e.evidence_id, 'no decision rests on this evidence'
FROM e ANTI JOIN d ON d.task = e.task AND d.evidence_id = e.evidence_id
UNION ALL
SELECT task, NULL, NULL, evidence_id, 'evidence number given ' || count(*) || ' times'
FROM e GROUP BY task, evidence_id HAVING count(*) > 1
ORDER BY ALL
