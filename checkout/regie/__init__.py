"""What the régisseur works with: journal, closings, statements to the communes, settlements of providers, nightly checks."""
