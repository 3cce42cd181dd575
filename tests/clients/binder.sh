#!/usr/bin/env bash
# Drives a farm of this machine with the client of Binder, as it was published: as a command line, and as a library.
#
#   tests/clients/binder.sh [VERSION]     the default is 1.0.3
#
# It downloads the client from npm, so it is no part of ./check. It needs git, curl, python3, and Node with npm.
# CLUSTERRUNNER_PROGRAM is the program, by default that of the debug build. All it makes is in a temporary directory, and
# goes at the end.
set -euo pipefail

version=${1:-1.0.3}
# shellcheck source=farm.bash
source "$(dirname "$0")/farm.bash"

mkdir "$work/client" "$work/home" "$work/hello"
(cd "$work/client" && npm install --silent --no-fund --no-audit --prefix . "binder-client@$version") > "$work/npm.log" 2>&1 ||
    { cat "$work/npm.log" >&2; exit 1; }
echo "binder-client $version, Node $(node --version)"

# The farm: a master and a slave, on loopback and ports of their own.
read -r port slave_port binder_port <<< "$(free_ports 3)"
export HOME=$work/home
start_farm <<CONF
[master]
port = $port
binder_ports = $binder_port
[slave]
port = $slave_port
hostname = 127.0.0.1
master_hostname = 127.0.0.1
master_port = $port
num_executors = 1
templates_path = $work/t
CONF
for _ in $(seq 100); do
    key=$(sed -n 's/^The key of the Binder API.*: //p' "$work/master.log")
    if [ -n "$key" ] && curl -s "http://127.0.0.1:$port/v1/version" > /dev/null; then
        break
    fi
    sleep 0.1
done

# The repository: a page, and a Procfile that says how to serve it.
cd "$work/hello"
git init --quiet --initial-branch main
echo 'hello from the farm' > index.html
# shellcheck disable=SC2016
echo 'web: python3 -m http.server --bind 127.0.0.1 $PORT' > Procfile
git add . && git -c user.name=ann -c user.email=ann@example.org commit --quiet --message 'Say hello'
repository=$work/hello
name=$(basename "$work")-hello
cd "$work"

# shown TEXT ARGUMENT...: runs the command line with these arguments. It must print the text.
shown() {
    local text=$1 output
    shift
    output=$("$work/client/node_modules/.bin/binder" "$@" --host 127.0.0.1 2>&1) || true
    printf '$ binder %s\n%s\n' "$*" "$output" |
        sed -e "s|$work|DIR|g" -e "s|$key|KEY|g" -e "s|$port|PORT|g" -e '/^ *$/d'
    if ! grep -qF -- "$text" <<< "$output"; then
        echo "expected this text: $text" >&2
        exit 1
    fi
    checks=$((checks + 1))
}

# until_it TEXT ARGUMENT...: runs the command line again and again until it prints the text.
until_it() {
    local text=$1
    shift
    for _ in $(seq 60); do
        if "$work/client/node_modules/.bin/binder" "$@" --host 127.0.0.1 2>&1 | grep -qF -- "$text"; then
            checks=$((checks + 1))
            return
        fi
        sleep 1
    done
    echo "in vain: binder $* does not print: $text" >&2
    exit 1
}

with_key=(--port "$port" --api-key "$key")
shown 'Unauthorized request' build start "$repository" false --port "$port" --api-key wrong
shown 'Unsupported repo source' build start 'ftp://host/a/b' false "${with_key[@]}"
shown 'Could not get build information' build status "$name" "${with_key[@]}"
shown '"phase": "fetching"' build start "$repository" false "${with_key[@]}"
until_it '"status": "completed"' build status "$name" "${with_key[@]}"
shown '"phase": "finished"' build status "$name" "${with_key[@]}"
shown "\"name\": \"$name\"" build status-all "${with_key[@]}"
shown '"port": 8888' registry fetch "$name" "${with_key[@]}"
shown "\"image-name\": \"$name\"" registry fetch-all "${with_key[@]}"
shown 'The requested resource does not exist' registry fetch other "${with_key[@]}"
shown 'Could not fetch template with name other' deploy deploy other 60000 "${with_key[@]}"
shown "\"template\": \"$name\"" deploy preload "$name" "${with_key[@]}"
until_it '"status": "completed"' deploy preload-status "$name" "${with_key[@]}"

# The application, by the port that has this API alone.
with_key=(--port "$binder_port" --api-key "$key")
launched=$("$work/client/node_modules/.bin/binder" deploy deploy "$name" 600000 --host 127.0.0.1 "${with_key[@]}")
id=$(sed -n 's/.*"id": "\([0-9a-f]*\)".*/\1/p' <<< "$launched")
until_it '"status": "deployed"' deploy status "$name" "$id" "${with_key[@]}"
shown "127.0.0.1:$port/user/$id" deploy status "$name" "$id" "${with_key[@]}"
shown "\"id\": \"$id\"" deploy status-all "$name" "${with_key[@]}"
shown 'There is no record' deploy status other "$id" "${with_key[@]}"
[ "$(curl -sf "http://127.0.0.1:$port/user/$id/")" = 'hello from the farm' ]
checks=$((checks + 1))

# The library goes the whole way.
cat > "$work/client/whole_way.js" <<'JAVASCRIPT'
const http = require('http')
const binder = require('binder-client')

const [port, key, repository] = process.argv.slice(2)
const at = { host: '127.0.0.1', port: Number(port), 'api-key': key }

function call (method, options) {
  return new Promise((resolve, reject) => {
    // The client changes its options.
    const given = Object.assign({}, at, options)
    method(given, (error, body) => error ? reject(error) : resolve(body))
  })
}

async function until (ask, isDone) {
  for (let tries = 0; tries < 120; tries++) {
    const body = await ask()
    if (isDone(body)) return body
    await new Promise(resolve => setTimeout(resolve, 500))
  }
  throw new Error('it takes too long')
}

function page (url) {
  return new Promise((resolve, reject) => {
    http.get(url, response => {
      let text = ''
      response.on('data', part => { text += part })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

async function wholeWay () {
  const { name } = await call(binder.build.start, { repository, force: true })
  const build = await until(
    () => call(binder.build.status, { 'image-name': name }),
    body => body.status !== 'running')
  if (build.status !== 'completed') throw new Error(JSON.stringify(build))
  const template = await call(binder.registry.fetch, { 'template-name': name })
  if (!template['image-source'] || !template.name || !template.port) throw new Error(JSON.stringify(template))
  await call(binder.deploy._preload, { 'template-name': name })
  const { id } = await call(binder.deploy.deploy, { 'template-name': name, 'cull-timeout': 600000 })
  const application = await until(
    () => call(binder.deploy.status, { 'template-name': name, id }),
    body => body.location)
  const parts = await call(binder.health.status, {})
  if (parts.length !== 2) throw new Error(JSON.stringify(parts))
  console.log(`${name} answers: ${(await page(`http://${application.location}/`)).trim()}`)
}

wholeWay().catch(error => {
  console.error(error)
  process.exit(1)
})
JAVASCRIPT
said=$(cd "$work/client" && node --no-deprecation whole_way.js "$port" "$key" "$repository")
echo "library: ${said//$name/NAME}"
[ "$said" = "$name answers: hello from the farm" ]
checks=$((checks + 1))

# Everything ends with the applications.
for id in $(curl -sf -H "Authorization: $key" "http://127.0.0.1:$port/applications/" | grep -o '"id":"[0-9a-f]*"' | cut -d'"' -f4); do
    curl -sf -X DELETE -H "Authorization: $key" "http://127.0.0.1:$port/applications/$name/$id" > /dev/null
    [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/user/$id/")" = 404 ]
    checks=$((checks + 1))
done
echo "$checks checks, all as they should be."
