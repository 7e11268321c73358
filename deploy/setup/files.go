package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/plumb-gitops/plumb/pkg/bus"
)

// services have an account of their own each.
var services = []string{"receiver", "worker", "drift-scanner", "alerter", "dashboard"}

// administrator may do everything on the bus, as `plumb bus apply` has to. No
// service holds it.
const administrator = "admin"

// seedFile is what nats.credentialsFile names.
const seedFile = "nats.nk"

// generate writes what is missing below dir, and NATS' accounts in any case.
func generate(dir, cluster string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make secrets: %w", err)
	}
	accounts, err := accounts(dir, cluster)
	if err != nil {
		return fmt.Errorf("make NATS accounts: %w", err)
	}
	if err := put(filepath.Join(dir, "nats", "accounts.conf"), accounts); err != nil {
		return err
	}
	for _, file := range []string{"receiver/hook", "dashboard/token"} {
		if _, err := once(filepath.Join(dir, file), random); err != nil {
			return err
		}
	}
	return nil
}

// accounts is the authorization block of nats-server: users by their public keys.
func accounts(dir, cluster string) (string, error) {
	var b strings.Builder
	b.WriteString("# Made by deploy/setup from the permissions of pkg/bus.\nauthorization {\n users = [\n")
	for _, name := range append([]string{administrator}, services...) {
		seed, err := once(filepath.Join(dir, name, seedFile), newSeed)
		if err != nil {
			return "", err
		}
		key, err := publicKey(seed)
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Join(dir, name, seedFile), err)
		}
		if name == administrator {
			fmt.Fprintf(&b, "  {nkey: %s} # %s\n", key, name)
			continue
		}
		p, err := bus.PermissionsOf(name, cluster)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "  {nkey: %s, permissions: %s} # %s\n", key, p.Config(), name)
	}
	b.WriteString(" ]\n}\n")
	return b.String(), nil
}

func newSeed() (string, error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return "", err
	}
	seed, err := user.Seed()
	return string(seed), err
}

func publicKey(seed string) (string, error) {
	user, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return "", err
	}
	return user.PublicKey()
}

func random() (string, error) {
	b := make([]byte, 32)
	rand.Read(b) // never fails, crypto/rand
	return hex.EncodeToString(b), nil
}

// once reads a file, which is made when it is not there.
func once(file string, make func() (string, error)) (string, error) {
	content, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(content)), err
	}
	value, err := make()
	if err != nil {
		return "", fmt.Errorf("make %s: %w", file, err)
	}
	return value, put(file, value+"\n")
}

// put makes a file that its service can read, which runs as another user in a
// container and is given the file's directory. Nobody else gets past the directory
// above, which is its owner's alone.
func put(file, content string) error {
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(content), 0o644)
	}
	// Whatever the umask says.
	err = errors.Join(err, os.Chmod(filepath.Dir(file), 0o755), os.Chmod(file, 0o644))
	if err != nil {
		return fmt.Errorf("write a secret: %w", err)
	}
	return nil
}

// copyKubeconfig writes the current context of a kubeconfig, with the contents of
// the files it names: those are not in the container.
func copyKubeconfig(file, dir string) error {
	config, err := clientcmd.LoadFromFile(file)
	if err == nil {
		err = errors.Join(api.MinifyConfig(config), clientcmd.ResolveLocalPaths(config))
	}
	if err == nil {
		err = errors.Join(api.FlattenConfig(config), selfContained(config))
	}
	if err != nil {
		return fmt.Errorf("copy kubeconfig %s: %w", file, err)
	}
	text, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("copy kubeconfig: %w", err)
	}
	return errors.Join(
		put(filepath.Join(dir, "worker", "kubeconfig"), string(text)),
		put(filepath.Join(dir, "drift-scanner", "kubeconfig"), string(text)))
}

// selfContained refuses what asks a program for a credential: an image has none.
func selfContained(config *api.Config) error {
	for name, user := range config.AuthInfos {
		if user.Exec != nil {
			return fmt.Errorf("user %s: runs %s, which is not in the images; give a kubeconfig with a token or a certificate", name, user.Exec.Command)
		}
	}
	return nil
}
