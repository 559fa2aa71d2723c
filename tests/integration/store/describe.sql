WITH ours AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relkind, c.relacl, c.relowner, c.reloptions
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('ledger', 'projection', 'migrations') AND c.relkind IN ('r', 'p', 'v')
), lines AS (
    SELECT 'role ' || rolname || CASE WHEN rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication
                                      THEN ' POWERFUL' ELSE '' END AS line
    FROM pg_roles WHERE rolname ^@ 'ledger_' AND rolname <> 'ledger_admin'
    UNION ALL
    SELECT 'member ' || m.member::regrole || ' of ' || m.roleid::regrole
    FROM pg_auth_members AS m
    WHERE m.member::regrole::text IN ('ledger_owner', 'ledger_redactor', 'ledger_app', 'ledger_projector',
                                      'ledger_reader')
    UNION ALL
    SELECT 'schema ' || nspname || ' owner ' || CASE WHEN nspname = 'migrations' THEN 'the administrator'
                                                     ELSE nspowner::regrole::text END
    FROM pg_namespace WHERE nspname IN ('ledger', 'projection', 'migrations')
    UNION ALL
    SELECT 'schema ' || nspname || ' grants ' || a.privilege_type || ' to '
           || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
    FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) AS a
    WHERE nspname IN ('ledger', 'projection', 'migrations') AND a.grantee <> nspowner
    UNION ALL
    SELECT 'table ' || name || ' kind ' || relkind::text || ' owner '
           || CASE WHEN name ^@ 'migrations.' THEN 'the administrator' ELSE relowner::regrole::text END
           || coalesce(' with ' || array_to_string(reloptions, ', '), '')
    FROM ours
    UNION ALL
    SELECT 'table ' || name || ' grants ' || a.privilege_type || ' to '
           || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
    FROM ours CROSS JOIN LATERAL aclexplode(relacl) AS a
    WHERE a.privilege_type <> 'MAINTAIN' AND NOT (name ^@ 'migrations.' AND a.grantee = relowner)
    UNION ALL
    SELECT 'table ' || name || ' column ' || attname || ' grants ' || a.privilege_type || ' to '
           || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
    FROM ours JOIN pg_attribute ON attrelid = ours.oid CROSS JOIN LATERAL aclexplode(attacl) AS a
    UNION ALL
    SELECT 'table ' || name || ' column ' || attname || ' ' || format_type(atttypid, atttypmod)
           || CASE WHEN attcollation = 'pg_catalog."C"'::regcollation THEN ' C' ELSE '' END
           || CASE WHEN attnotnull THEN ' not null' ELSE '' END
           || CASE WHEN attidentity <> '' THEN ' identity ' || attidentity::text ELSE '' END
           || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = attrelid AND d.adnum = attnum
    UNION ALL
    SELECT 'table ' || name || ' constraint ' || conname || ' ' || pg_get_constraintdef(k.oid)
    FROM ours JOIN pg_constraint AS k ON k.conrelid = ours.oid WHERE k.contype <> 'n'
    UNION ALL
    SELECT 'table ' || name || ' index ' || pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
    FROM ours JOIN pg_index ON indrelid = ours.oid
    UNION ALL
    SELECT 'table ' || name || ' trigger ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
    FROM ours JOIN pg_trigger AS t ON t.tgrelid = ours.oid AND NOT t.tgisinternal
    UNION ALL
    SELECT 'table ' || name || ' partition ' || pg_get_expr(c.relpartbound, c.oid)
    FROM ours JOIN pg_class AS c ON c.oid = ours.oid AND c.relispartition
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure || ' owner ' || p.proowner::regrole
           || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END || ' ' || array_to_string(p.proconfig, '; ')
           || ' sha256 ' || encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex')
    FROM pg_proc AS p WHERE p.pronamespace IN ('ledger'::regnamespace, 'projection'::regnamespace)
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure || ' grants ' || a.privilege_type || ' to '
           || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
    FROM pg_proc AS p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
    WHERE p.pronamespace IN ('ledger'::regnamespace, 'projection'::regnamespace) AND a.grantee <> p.proowner
    UNION ALL
    SELECT 'default of ' || defaclrole::regrole || ' on ' || defaclobjtype::text || ' grants ' || a.privilege_type
           || ' to ' || a.grantee::regrole
    FROM pg_default_acl CROSS JOIN LATERAL aclexplode(defaclacl) AS a WHERE a.grantee <> defaclrole
    UNION ALL
    SELECT 'database grants CREATE to ' || a.grantee::regrole
    FROM pg_database CROSS JOIN LATERAL aclexplode(datacl) AS a
    WHERE datname = current_database() AND a.privilege_type = 'CREATE' AND a.grantee <> datdba
)
SELECT line FROM lines ORDER BY line COLLATE "C"
