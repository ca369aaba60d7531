"""Signed changes of Secure Boot databases: one as `sbvarsign` makes them, one by hand."""

from __future__ import annotations

import base64

SBVARSIGN = base64.b64decode(
    """
    6gcKGgYGKgAAAAAAAAAAABEFAAAAAvEOndKvSt9o7kmKqTR9N1ZlpzCCBPUCAQExDzANBglghkgBZQMEAgEFADALBgkqhkiG9w0B
    BwGgggMLMIIDBzCCAe+gAwIBAgIUbkkcu6x9on+V3Pk2G8L990XYskowDQYJKoZIhvcNAQELBQAwEzERMA8GA1UEAwwIdGVzdCBL
    RUswHhcNMjYxMTI2MDYwNjQyWhcNMzYxMTIzMDYwNjQyWjATMREwDwYDVQQDDAh0ZXN0IEtFSzCCASIwDQYJKoZIhvcNAQEBBQAD
    ggEPADCCAQoCggEBALYU4VmOAWW+fHowu2Eqvs68FEarHQefjQTYBZ1zPWPHutDNluqD4LQZxQ+Aw69SDob5ucSAfdyksi/fI57K
    gsChGp65a/LeZUPbYzHiYkyzapZmRTWzbPxe3idzmm4dDAaVxbiDxqoY8cpQbT6jFJscYKItqhpT80pQ4ZXULmDQ71nOFjDEijFe
    qpBXeUW8o2hR6p6CoTewi5Y6HvbNEcwOgR9egF52KbkH/o97fRpUsYQvCs51YBnOvmmN4TMsJ2WDlr77U9xtUeslVbnj8UHK/r1O
    QOVpGIVmdthc7XIAJuN9fUvK+zvUijHlgGum8Q1GeYd0ysQeGNdu4P1gkD0CAwEAAaNTMFEwHQYDVR0OBBYEFPi0wNdahAXo6Wdj
    e+bQtNFQW4shMB8GA1UdIwQYMBaAFPi0wNdahAXo6Wdje+bQtNFQW4shMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQAD
    ggEBAFnliiwCtthu44fp2gGxB3BSk44qLG/Ge0//wGMq48Om8CX0fexDWSoXjoe2aSz+MTi2bePW3z3g9ptIaO0/6Isj3EmaBo+1
    V1sCPI/lB1F/26uP6EPnhY+684tmujlNtVb8D45Bz/WpS9a/pKcpgdDkxtsPIN12LCK0sf1g53sURcxDlETgcOZtx8/rudPgk4Er
    gLWq3tdlzyKopwjHryBijmw7CZaQA1vatU0Jyg2unYilPWQnfnnBPAh4xowE2c9YWlRz3s9j/agtCTRJ/L3M7sJa52TpV+GXTRyz
    cYtxB/wPjj4uMpDV7gwXI9Vb/WXNsfnFwKXAwkR3cm6qbyExggHBMIIBvQIBATArMBMxETAPBgNVBAMMCHRlc3QgS0VLAhRuSRy7
    rH2if5Xc+TYbwv33RdiySjANBglghkgBZQMEAgEFAKBpMBgGCSqGSIb3DQEJAzELBgkqhkiG9w0BBwEwHAYJKoZIhvcNAQkFMQ8X
    DTI2MTEyNjA2MDY0MlowLwYJKoZIhvcNAQkEMSIEIADJwkWBKlJGOToP2Lc7xrPNNfpocl92dJ562JJm5btuMA0GCSqGSIb3DQEB
    AQUABIIBAIz36A2ntUYRElCbcPDPbEdP/aL4+mo2A26WOpVd/LTpsbWI3mljtha2zUhaz1anfVoOG57owvkzekNti712O7g7Ftqo
    dsvVMFA1f/IFAaCOVmPPOVg7SFbgCYsYuxx1p6yMvJhO+EUzrHR+Sor2qtxATTKSRZQARY2Q/iSpOUltA0fvo5OGEOhR181M9gLV
    gdev/R6rYPb2i/48/ff6KFrjFVEMmW+eJnenDdi2JNpDJy1NnXxzrdlTdLzu+AXQELtfBpPDlUiZcwNhnqWP8nT2oWh9Lgv41nbc
    2aLGQAnWgOq2htnn+3CkUUVlwe4bw2au9C2XoilIU8J0gb3D5RcmFsTBTFCSQKypQfk2k0MoTAAAAAAAAAAwAAAAvZr6d1kDMk29
    YCj05494S2AIy8+6ntP8Pza58/xWylVEHBEkiIvMWIOULw7SkDuB
    """
)
"""By sbvarsign 0.9.4: `--attr NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS,TIME_BASED_AUTHENTICATED_WRITE_ACCESS,`
`APPEND_WRITE --guid d719b2cb-3d3a-4596-a3bc-dad00e67656f dbx`, over one hash, by a throw-away RSA key.
"""
OWNER = bytes.fromhex("bd9afa775903324dbd6028f4e78f784b")
BY_HAND = (
    bytes.fromhex("ea07 0b 1a 06 07 08 0000000000 0000 00 00")  # 2026-11-26 06:07:08
    + bytes.fromhex("1d000000 0002 f10e 9dd2af4adf68ee498aa9347d375665a7")  # 24 bytes of head, and 5 of SignedData
    + bytes.fromhex("3003 020101")
    + bytes.fromhex("2616c4c14c509240aca941f936934328 4c000000 00000000 30000000")  # SHA-256, 76 bytes, entries of 48
    + OWNER
    + bytes(range(32))
)
"""SignedData is a SEQUENCE of one number: nobody has signed it."""
