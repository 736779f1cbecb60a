// Tells which of the given TLS connections Go accepts: an array of cases as JSON on standard input, an object on standard output.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

type dial struct{ ID, Address, Name, CA, Chain, Key string }

func main() {
	var cases []dial
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	accepted := map[string]bool{}
	for _, each := range cases {
		err := try(each)
		if accepted[each.ID] = err == nil; err != nil {
			fmt.Fprintln(os.Stderr, each.ID, err)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(accepted)
}

// verify judges a client's certificate as a server would.
func verify(pair tls.Certificate, authorities *x509.CertPool) error {
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return err
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: authorities, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

func try(each dial) error {
	pem, err := os.ReadFile(each.CA)
	if err != nil {
		panic(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: each.Name}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		panic("no certificate in " + each.CA)
	}
	if each.Chain != "" {
		pair, err := tls.LoadX509KeyPair(each.Chain, each.Key)
		if err != nil {
			panic(err)
		}
		config.Certificates = []tls.Certificate{pair}
		if err := verify(pair, config.RootCAs); err != nil {
			return err
		}
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	answer, err := client.Get("https://" + each.Address + "/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.ReadAll(answer.Body)
	return err
}
