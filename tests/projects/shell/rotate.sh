# Renames FILE to FILE.1, FILE.1 to FILE.2 and so on; beyond KEEP they go.
rotate() {
    local file=$1 keep=$2 number
    rm -f "$file.$keep"
    for ((number = keep - 1; number >= 1; number--)); do
        if [ -e "$file.$number" ]; then mv "$file.$number" "$file.$((number + 1))"; fi
    done
    if [ -e "$file" ]; then mv "$file" "$file.1"; fi
}
