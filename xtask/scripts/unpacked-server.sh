#!/bin/sh
# A database server that was unpacked, not installed: it runs with the libraries that came with it alone.
here=$(cd "$(dirname "$0")" && pwd)
libraries=$here/usr/lib/mysql/private
for folder in "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu; do
    [ -d "$folder" ] || continue
    libraries=$libraries:$folder
    for found in "$folder"/ld-linux*.so.*; do
        [ -f "$found" ] && loader=$found
    done
done
for program in "$here/usr/sbin/mariadbd" "$here/usr/sbin/mysqld"; do
    [ -f "$program" ] && exec "$loader" --library-path "$libraries" "$program" "$@"
done
echo "There is no server in $here." >&2
exit 1
