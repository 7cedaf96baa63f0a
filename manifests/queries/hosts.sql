-- Per host: what was kept (with the shards that hold it) and each way in which documents were excluded.
-- Parameters: $kept, $decisions: lists of Parquet files. By hand: replace them by 'CORPUS/manifests/v0001/kept/*.parquet'
-- and 'CORPUS/manifests/v0001/decisions/*.parquet'.
SELECT * FROM (
    SELECT
        rhost,
        'keep' AS action,
        CAST(NULL AS VARCHAR) AS stage,
        CAST(NULL AS VARCHAR) AS reason,
        CAST(count(*) AS BIGINT) AS rows,
        CAST(sum(text_bytes) AS BIGINT) AS text_bytes,
        list_sort(list_distinct(list(shard))) AS shards
    FROM read_parquet($kept)
    GROUP BY rhost
    UNION ALL
    SELECT
        rhost,
        action,
        stage,
        reason,
        CAST(count(*) AS BIGINT),
        CAST(sum(text_bytes) AS BIGINT),
        CAST(NULL AS VARCHAR[])
    FROM read_parquet($decisions)
    WHERE action = 'exclude'
    GROUP BY rhost, action, stage, reason
)
ORDER BY rhost NULLS FIRST, action DESC, stage NULLS FIRST, reason NULLS FIRST
