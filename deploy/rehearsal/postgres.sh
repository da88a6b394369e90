set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "${POSTGRES_PASSWORD:?}" >/tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust ${POSTGRES_INITDB_ARGS:-} >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent --options="-c listen_addresses=''" start
    psql --username="$POSTGRES_USER" postgres --command "CREATE DATABASE $POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --username="$POSTGRES_USER" "$POSTGRES_DB" --file "$script"
    done
    pg_ctl --wait --silent --mode=fast stop
fi
exec postgres -c "listen_addresses=*" -c unix_socket_directories=/tmp,/var/run/postgresql
