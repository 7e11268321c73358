package service

// Images are built from nothing and have no certificate store. These roots
// (those of Mozilla) count only where the system has none.
import _ "golang.org/x/crypto/x509roots/fallback"
