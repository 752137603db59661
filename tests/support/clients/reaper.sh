#!/bin/sh
# A stand-in for testcontainers' reaper, ryuk: removes through docker's socket what has the labels that its clients named,
# when the last of them has closed its connection.
#
# It listens at port 8080. A client writes lines such as `label=KEY=VALUE&label=KEY=VALUE`; each is answered with ACK.
export PATH=/bin
place=/run/reaper

ask() { # METHOD PATH
  curl -sS --unix-socket /var/run/docker.sock -X "$1" "http://docker$2"
}

found() { # PATH MEMBER FILTERS: what has these labels, by a member of each
  curl -sS --unix-socket /var/run/docker.sock -G --data-urlencode "filters=$3" "http://docker$1" |
    grep -o "\"$2\":\"[^\"]*\"" | cut -d'"' -f4
}

reap() { # LINE: removes what is found, and fails when nothing is
  filters=$(echo "$1" | sed 's/&/","/g; s/label=\([^=]\)/\1/g; s/^/{"label":["/; s/$/"]}/')
  nothing=1
  for path in $(
    for id in $(found "/containers/json?all=1" Id "$filters"); do
      [ "$id" = "$own" ] || echo "/containers/$id?force=1&v=1"
    done
    for id in $(found /networks Id "$filters"); do echo "/networks/$id"; done
    for id in $(found /images/json Id "$filters"); do echo "/images/$id?force=1"; done
    for name in $(found /volumes Name "$filters"); do echo "/volumes/$name?force=1"; done
  ); do
    nothing=0
    ask DELETE "$path"
  done
  return $nothing
}

if [ "$1" = client ]; then
  trap "" PIPE # of a client that does not wait for the answer
  : >$place/clients/$$
  while read -r line; do
    line=$(echo "$line" | tr -d '\r')
    echo "$line" >>$place/lines
    echo ACK
  done
  rm -f $place/clients/$$
  exit
fi

mkdir -p $place/clients
: >$place/lines
nc -ll -p 8080 -e /bin/reaper client &
listener=$!
until netstat -ltn | grep -q ':8080 '; do sleep 0.05; done
echo "reaper: Started!"
until [ -s $place/lines ] && [ -z "$(ls $place/clients)" ]; do sleep 0.1; done
kill $listener
own=$(ask GET "/containers/$(hostname)/json" | grep -o '"Id":"[^"]*"' | head -n 1 | cut -d'"' -f4)
# Again while something is left: what is in use goes after what uses it.
sort -u $place/lines | while read -r line; do
  tries=50
  while [ $tries -gt 0 ] && reap "$line"; do
    tries=$((tries - 1))
    sleep 0.2
  done
done
