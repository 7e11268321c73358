package git_test

import (
	"encoding/base64"
	"math/big"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// foreignLine has a kind of key that the ssh package does not know.
const foreignLine = "* ssh-mldsa-44 AAAADHNzaC1tbGRzYS00NAAAAAQBAgME\n"

// dssLine is a DSA key, as old servers have it.
func dssLine(host string) string {
	p := new(big.Int).SetBit(big.NewInt(7), 1023, 1)
	q := new(big.Int).SetBit(big.NewInt(7), 159, 1)
	blob := ssh.Marshal(struct {
		Name       string
		P, Q, G, Y *big.Int
	}{"ssh-dss", p, q, big.NewInt(4), big.NewInt(5)})
	return host + " ssh-dss " + base64.StdEncoding.EncodeToString(blob) + "\n"
}

func hashedLine(t *testing.T, host string, key ssh.Signer) string {
	t.Helper()
	return knownhosts.HashHostname(host) + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
}
