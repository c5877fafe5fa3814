"""`faramesh-mesh demo`: a real mesh on this machine, the whole story, checked step by step."""
