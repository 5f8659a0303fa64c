// A certified OpenID provider on a port of this machine, for the tests: node provider.mjs CERTIFICATE KEY REDIRECT_URI
// It says its issuer on the first line. Whoever signs in is who they say; the name decides about the claims.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const [certificate, key, redirectUri] = process.argv.slice(2);
const pairs = [generateKeyPairSync('rsa', { modulusLength: 2048 }), generateKeyPairSync('ec', { namedCurve: 'P-256' })];
const client = { redirect_uris: [redirectUri], grant_types: ['authorization_code'], response_types: ['code'] };
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });

server.listen(0, 'localhost', () => {
  const issuer = `https://localhost:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      { ...client, client_id: 'scopegate', client_secret: 'a secret: of/the client', token_endpoint_auth_method: 'client_secret_basic' },
      { ...client, client_id: 'public', token_endpoint_auth_method: 'none', id_token_signed_response_alg: 'ES256' },
    ],
    jwks: { keys: pairs.map((pair, number) => ({ ...pair.privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig' })) },
    pkce: { required: () => true },
    cookies: { keys: ['for the tests only'] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub', 'roles', 'grants'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, roles: id === 'boss' ? ['token-admin'] : [], grants: ['worklogs:view'] }),
    }),
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
