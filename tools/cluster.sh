# Sourced by scripts that need a PostgreSQL: cluster_start makes one and exports its URL; it goes when the script ends.
cluster_directory=

cluster_start() {
    # Not inside a folder of mode 700: PostgreSQL may run as another user than we.
    trap cluster_stop EXIT
    cluster_directory=$(mktemp -u "${TMPDIR:-/tmp}/mainstay-cluster-XXXXXXXX")
    MAINSTAY_TEST_POSTGRES=$(tools/postgres start "$cluster_directory") || return 1
    export MAINSTAY_TEST_POSTGRES
}

cluster_stop() {
    if [ -n "$cluster_directory" ]; then
        tools/postgres stop "$cluster_directory" || true
        cluster_directory=
    fi
}
