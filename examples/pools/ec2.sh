#!/bin/sh
# Slaves of a pool as machines of EC2, by `aws` and `jq`: a pattern, which was not tried against an account.
#
#   [pool cloud]
#   provider = command
#   max_slaves = 8
#   executors = 4
#   start_timeout = 600
#   start_command = /path/to/ec2.sh start
#   stop_command = /path/to/ec2.sh stop
#   list_command = /path/to/ec2.sh list
#
# $IMAGE is an image that has `clusterrunner` and no secret, $TYPE the type of the machines, $SUBNET and $GROUP where they
# are. A machine ends itself when its slave has ended (--instance-initiated-shutdown-behavior terminate).
set -eu
umask 077

start() {
    order=$(mktemp)
    trap 'rm -f "$order" "$order.boot"' EXIT
    cat >"$order"
    # What the machine does at its start. It has the token, so it goes by a file and not by the command line.
    {
        echo '#!/bin/sh'
        echo 'umask 077'
        jq -r '.environment | to_entries[] | "export \(.key)=\(.value | @sh)"' "$order"
        echo 'mkdir -p /var/lib/clusterrunner'
        jq -r '"printf %s\\\\n \(.join_token | @sh) >/var/lib/clusterrunner/join_token"' "$order"
        echo 'export CLUSTERRUNNER_JOIN_TOKEN_FILE=/var/lib/clusterrunner/join_token'
        echo 'export CLUSTERRUNNER_BASE_DIRECTORY=/var/lib/clusterrunner CLUSTERRUNNER_PORT=43001'
        echo 'clusterrunner slave; shutdown -h now'
    } >"$order.boot"
    name=$(jq -r .name "$order")
    aws ec2 run-instances --image-id "$IMAGE" --instance-type "${TYPE:-m7i.xlarge}" \
        --subnet-id "$SUBNET" --security-group-ids "$GROUP" --count 1 --client-token "$name" \
        --instance-initiated-shutdown-behavior terminate --user-data "file://$order.boot" \
        --metadata-options 'HttpTokens=required,HttpPutResponseHopLimit=1' \
        --tag-specifications "ResourceType=instance,Tags=[{Key=Name,Value=$name}]" >/dev/null
}

stop() {
    # shellcheck disable=SC2046
    aws ec2 terminate-instances --instance-ids $(jq -r '.slaves[].id') >/dev/null
}

list() {
    prefix=$(jq -r .prefix)
    aws ec2 describe-instances --filters "Name=tag:Name,Values=$prefix*" |
        jq '{slaves: [.Reservations[].Instances[] | {
            id: .InstanceId,
            name: (.Tags[] | select(.Key == "Name").Value),
            state: (if .State.Name == "pending" or .State.Name == "running" then "running" else "ended" end)
        }]}'
}

case ${1:-} in
start | stop | list) "$1" ;;
*)
    echo "usage: ec2.sh start|stop|list, with JSON on the standard input" >&2
    exit 2
    ;;
esac
