#!/bin/sh
# Makes the commits and keys beside it with the real git, gpg and ssh-keygen.
# Usage: ./make.sh, in this directory. Private keys are thrown away.
set -eu
out=$PWD
work=$(mktemp -d)
trap 'gpgconf --homedir "$work/gnupg" --kill all; rm -rf "$work"' EXIT
export GNUPGHOME="$work/gnupg" HOME="$work" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.com
export GIT_AUTHOR_DATE=2026-01-15T12:00:00Z GIT_COMMITTER_DATE=2026-01-15T12:00:00Z
mkdir -m 700 "$GNUPGHOME" && mkdir -p "$out/commits" "$out/keys"

# gpg at the time of $1; the rest are its arguments.
at() {
	time=$1
	shift
	gpg --batch --quiet --no-tty --faked-system-time "$time" --pinentry-mode loopback --passphrase '' "$@"
}
printf '#!/bin/sh\nexec gpg --batch --no-tty --faked-system-time 20260115T120000 $EXTRA "$@"\n' >"$work/gpg"
# ssh-keygen with another namespace or hash function than git asks for.
printf '#!/bin/sh\nfor a; do shift; [ "$a" = git ] && a=${NAMESPACE:-git}; set -- "$@" "$a"; done\nexec ssh-keygen $EXTRA "$@"\n' >"$work/ssh"
chmod +x "$work/gpg" "$work/ssh"

git init -q -b main "$work/repo" && cd "$work/repo"
echo signed >f && git add f
git config gpg.program "$work/gpg" && git config gpg.ssh.program "$work/ssh"

# commit name format key: a signed commit without parents.
commit() {
	git config gpg.format "$2" && git config user.signingkey "$3"
	git update-ref -d HEAD
	git commit -q -S -m "Signed: $1"
	git cat-file commit HEAD >"$out/commits/$1"
}

# openpgp name algorithm usage expiry
openpgp() {
	at 20260110T000000 --quick-generate-key "$1 <$1@example.com>" "$2" "$3" "$4"
	commit "gpg-$1" openpgp "$1@example.com"
	gpg --armor --export "$1@example.com" >"$out/keys/gpg-$1.asc"
}
openpgp ada ed25519 sign never
openpgp expired ed25519 sign 2026-01-20
openpgp weak rsa1024 sign never
openpgp rsa rsa2048 sign never
EXTRA='--digest-algo SHA1' && export EXTRA
commit gpg-sha1 openpgp rsa@example.com
EXTRA='--default-sig-expire 2d' commit gpg-shortlived openpgp rsa@example.com
EXTRA=
# One that signs with a subkey.
at 20260110T000000 --quick-generate-key 'subkey <subkey@example.com>' ed25519 cert never
print=$(gpg --list-keys --with-colons subkey@example.com | awk -F: '$1 == "fpr" { print $10; exit }')
at 20260110T000000 --quick-add-key "$print" ed25519 sign never
commit gpg-subkey openpgp subkey@example.com
gpg --armor --export subkey@example.com >"$out/keys/gpg-subkey.asc"
# One that is revoked after it signed.
openpgp revoked ed25519 sign never
print=$(gpg --list-keys --with-colons revoked@example.com | awk -F: '$1 == "fpr" { print $10; exit }')
sed 's/^:-----/-----/' "$GNUPGHOME/openpgp-revocs.d/$print.rev" | gpg --batch --quiet --import
gpg --armor --export revoked@example.com >"$out/keys/gpg-revoked.asc"

# ssh name type bits
openssh() {
	ssh-keygen -q -t "$2" -b "$3" -N '' -C "$1@example.com" -f "$work/$1"
	commit "ssh-$1" ssh "$work/$1"
	cp "$work/$1.pub" "$out/keys/ssh-$1.pub"
}
openssh ada ed25519 256
openssh ecdsa ecdsa 256
openssh rsa rsa 2048
openssh weak rsa 1024
EXTRA='-O hashalg=sha256' && export EXTRA
commit ssh-sha256 ssh "$work/ada"
EXTRA=
NAMESPACE=file && export NAMESPACE
commit ssh-namespace ssh "$work/ada"
unset NAMESPACE

git update-ref -d HEAD
git commit -q -m 'Signed by nobody'
git cat-file commit HEAD >"$out/commits/unsigned"
